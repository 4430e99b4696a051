"""What a CI system shows of a run, and that no job can speak to it."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.ci_systems import READERS, Seen
from made_events import Clock, printed, told
from manyhands.ci.dialects import DIALECTS, dialect_of
from manyhands.ci.log import ANNOTATIONS, OPEN_LINES, CiLog
from manyhands.core.events import Counted, Event, RunStarted, Summary, Tick, Warned
from manyhands.core.job import Output, Status
from manyhands.render.plain import HEARTBEAT

FAILED, TIMEOUT = Status.FAILED, Status.TIMEOUT
EVERY = pytest.mark.parametrize("system", READERS)
COMMANDS = [
    "::add-mask::x",
    "::error::x",
    "##[group]x",
    "##vso[task.setvariable variable=A]x",
    "section_start:1:x\r\x1b[0K",
]
HOSTILE = st.lists(
    st.sampled_from([*COMMANDS, "\n", "\r", " ", "::", "##", "##v", "so[", "[", "section_", "start:1:a", "\x1b[0K", "a"])
)


def shown(system: str, *events: Event, **options: Any) -> Seen:
    """What the system makes of these events."""
    out = io.BytesIO()
    log = CiLog(out, DIALECTS[system], environ={}, clock=Clock(), **options)
    for event in (RunStarted("r", "cmd {}", 2), *events, Summary("r")):
        log.event(event)
    log.close()
    return READERS[system](out.getvalue().decode())


@EVERY
def test_a_job_that_is_well_is_a_group(system: str) -> None:
    """Which can be shown closed; its errors are in it, too. One that prints nothing is not there."""
    seen = shown(system, told(1, out=b"fine\n", err=b"well"), told(2))
    if system == "plain":
        assert seen.text == ["job 1, 0.0 s: cmd in1", "fine", "well", ""]
    else:
        assert seen.text == [""]
        assert len(seen.commands) == 2


def test_a_group_says_that_it_was_not_the_first_attempt() -> None:
    """The jobs to look after are those that are sometimes well."""
    first = told(1, out=b"fine\n")
    again = first.outcome._replace(attempt=first.outcome.attempt._replace(number=2))
    seen = shown("plain", first, first._replace(outcome=again))
    assert seen.text == ["job 1, 0.0 s: cmd in1", "fine", "job 1, attempt 2, 0.0 s: cmd in1", "fine", ""]


@EVERY
def test_the_only_job_is_not_hidden(system: str) -> None:
    """Nor is one of which we know that there are no others."""
    seen = shown(system, Counted(1), told(1, out=b"fine\n"))
    assert (seen.commands, seen.text) == ([], ["fine", ""])


@EVERY
def test_a_failure_is_open_and_annotated(system: str) -> None:
    """Also between groups; the annotation has the last lines of what it said."""
    seen = shown(system, told(1, out=b"a\n"), told(2, FAILED, out=b"out\n", err=b"why: 5%\n"), told(3, out=b"c\n"))
    assert {"manyhands: job 2 failed with exit status 3: cmd in2", "out", "why: 5%"} <= set(seen.text)
    notes = [data for name, data in seen.commands if name in ("error", "task.logissue")]
    percent = {"github": "%25", "azure": "%AZP25"}.get(system, "%")
    wanted = f"cmd in2%0Awhy: 5{percent}"
    if system == "github":
        assert notes == [wanted]
    elif system == "azure":
        assert notes == [f"job 2 failed with exit status 3%0A{wanted}"]
    else:
        assert notes == []


@given(HOSTILE.map("".join), HOSTILE.map("".join), st.sampled_from(sorted(READERS)), st.booleans())
def test_no_job_speaks_to_the_system(text: str, name: str, system: str, well: bool) -> None:
    """Neither by what it prints, however it is cut into pieces, nor by its input."""
    status = Status.OK if well else FAILED
    more: dict[str, Any] = (
        {} if well else {"error": f"ValueError: {text}", "traceback": f"Traceback\n  {text}\nValueError: {text}"}
    )
    event = told(1, status, name.encode(), out=text.encode(), err=text.encode(), **more)
    found = Counter(command for command, _ in shown(system, event, Warned(text)).commands)
    assert found <= Counter({"error": 1, "task.logissue": 1} if not well else ["group", "endgroup", "start", "end"])


@EVERY
@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_commands_in_pieces(system: str, size: int) -> None:
    """A mark that lies across two pieces is found."""
    text = "x".join([*COMMANDS, *COMMANDS]) + "end"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    whole = "".join(DIALECTS[system].fenced(pieces))
    assert not re.search(r"##(?:vso)?\[|section_start:", whole)
    assert "".join(whole.split()).count("##") == 2 * text.count("##") // 2
    assert READERS[system](whole).commands == []


def test_every_fence_has_a_token_of_its_own() -> None:
    """One that was printed cannot be used again."""
    tokens = {next(iter(DIALECTS["github"].fenced(["x"]))) for _ in range(10)}
    assert len(tokens) == 10
    assert all(len(one) >= 48 for one in tokens)


@pytest.mark.parametrize("number", [ANNOTATIONS - 1, ANNOTATIONS, ANNOTATIONS + 1, 60])
@pytest.mark.parametrize("system", ["github", "azure"])
def test_no_more_annotations_than_are_shown(system: str, number: int) -> None:
    """Ten, of which the last tells of all further ones."""
    seen = shown(system, *(told(n, FAILED) for n in range(1, number + 1)))
    notes = [data for name, data in seen.commands if name in ("error", "task.logissue")]
    assert len(notes) == min(number, ANNOTATIONS)
    more = number - ANNOTATIONS + 1
    assert (f"cmd in{number}" in notes[-1]) == (more <= 1)
    if more > 1:
        assert "The log and the summary name them." in notes[-1]


def test_the_beginning_of_a_long_output_is_left_out() -> None:
    """Of a failure; it is said how much that is."""
    lines = [b"%03d\n" % n for n in range(OPEN_LINES + 50)]
    seen = shown("plain", told(1, FAILED, out=b"".join(lines)))
    assert "manyhands: job 1: the end of stdout, without its first 200 bytes:" in seen.text
    assert [one for one in seen.text if re.fullmatch(r"\d{3}", one)] == [one.decode().strip() for one in lines[50:]]


@pytest.mark.parametrize(("which", "there"), [("all", {"well", "bad"}), ("failures", {"bad"}), ("none", set())])
def test_whose_output_is_shown(which: str, there: set[str]) -> None:
    """--output; of what is not shown nothing is in an annotation."""
    seen = shown("github", Counted(1), told(1, out=b"well"), told(2, FAILED, err=b"bad"), shown=which)
    assert {"well", "bad"} & set(seen.text) == there
    assert [("bad" in data) for name, data in seen.commands if name == "error"] == ["bad" in there]


@pytest.mark.parametrize(("system", "word"), [("github", "add-mask"), ("azure", "task.setsecret")])
def test_secrets_are_hidden_before_anything_is_shown(system: str, word: str) -> None:
    """Each line of them, because that is how the systems look for them."""
    seen = shown(system, told(1, out=b"x"), secrets=["one\n\ntwo 5%\n"])
    assert [name for name, _ in seen.commands[:2]] == [word] * 2
    assert [data.replace("%AZP25", "%").replace("%25", "%") for _, data in seen.commands[:2]] == ["one", "two 5%"]


def test_colours_of_jobs_stay() -> None:
    """All systems show them; they end with the job."""
    out = io.BytesIO()
    log = CiLog(out, DIALECTS["github"], environ={}, clock=Clock())
    log.event(told(1, out=b"\x1b[31mred\x1b[2J\n"))
    log.close()
    assert b"\x1b[31mred^[[2J\n\x1b[0m\n" in out.getvalue()


def test_a_retry_a_warning_and_a_sign_of_life() -> None:
    """Lines, each in its turn; a job that is tried again is not annotated."""
    clock, out = Clock(), io.BytesIO()
    log = CiLog(out, DIALECTS["github"], environ={}, clock=clock)
    log.event(told(1, FAILED, retry_in=2.0))
    log.event(Warned("mind"))
    clock.time += HEARTBEAT
    log.event(Tick(clock.time, 1))
    first, second, third, rest = out.getvalue().decode().split("\n")
    assert "trying again in 2.0 s (attempt 2)" in first
    assert second == "manyhands: mind"
    assert ("done" in third, rest) == (True, "")


def test_output_that_is_gone(tmp_path: Path) -> None:
    """Somebody removed the file: one line, and the log goes on."""
    gone = Output(b"", str(tmp_path / "gone"), 5)
    for status in (Status.OK, FAILED):
        event = told(1, status)
        ending = event.outcome.ending._replace(stdout=gone, stderr=printed(b"there"))
        seen = shown("plain", event._replace(outcome=event.outcome._replace(ending=ending)))
        assert any("gone" in line for line in seen.text)


@pytest.mark.parametrize(
    ("environ", "system"),
    [
        ({"GITHUB_ACTIONS": "true"}, "github"),
        ({"GITLAB_CI": "true"}, "gitlab"),
        ({"TF_BUILD": "True"}, "azure"),
        ({"GITHUB_ACTIONS": "false", "CI": "true"}, "plain"),
        ({}, "plain"),
    ],
)
def test_where_it_runs(environ: dict[str, str], system: str) -> None:
    """By the variable that each system sets."""
    assert dialect_of("auto", environ) is DIALECTS[system]
    assert dialect_of("azure", environ) is DIALECTS["azure"]
