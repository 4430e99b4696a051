"""The summary in Markdown: what it tells, that it is bounded, and that no job writes Markdown or HTML into it."""

from __future__ import annotations

import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from made_events import end, told
from manyhands.ci.job_summary import FAILURES, MOST, JobSummary
from manyhands.core.events import Event, Finished, Summary
from manyhands.core.job import Status

FAILED = Status.FAILED


def written(*events: Finished, what: str = "cmd {}", counts: dict[Status, int] | None = None) -> str:
    """The summary of these ends."""
    kept = JobSummary()
    kept.what = what
    for event in events:
        kept.finished(event)
    return kept.text(Summary("r1", counts or {Status.OK: len(events)}))


class Page(HTMLParser):
    """The text and the elements of a page that CI systems make of Markdown, in which HTML is allowed."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.words = ""
        self.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements += [tag, *(name for name, _ in attrs)]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_what_it_tells() -> None:
    """The sum, failures with what they printed last, those that passed on a retry, and the slowest."""
    page = Page(
        written(
            told(1, wall=0.5),
            told(2, FAILED, err=b"one\ntwo\n", wall=7.0),
            told(3, FAILED, retry_in=1.0),
            told(3, tries=2, wall=3.0),
            counts={Status.OK: 2, FAILED: 1},
        )
    )
    words = " ".join(page.words.split())
    assert words.startswith(
        "cmd {} Run r1: 3 jobs: 2 ok, 1 failed in 0.0 s 1 failed job input how it ended time 2 in2 failed with"
    )
    assert "the end of what job 2 printed one two" in words
    assert "1 passed only on a retry job input how it ended time 3 in3 passed at attempt 2 3.0 s" in words
    assert words.endswith("The slowest job input how it ended time 2 in2 failed 7.0 s 3 in3 ok 3.0 s 1 in1 ok 0.5 s")
    assert page.elements.count("table") == 3


def test_all_is_well() -> None:
    """One line, and the slowest; nothing is said of failures."""
    words = Page(written(*(told(n, wall=float(n)) for n in range(1, 20)))).words
    assert "failed" not in words
    assert [f"in{n}\n" in words for n in (19, 15, 14)] == [True, True, False]


def test_it_is_bounded() -> None:
    """Of a thousand failures fifty have a row, ten their output, and long names and outputs are cut."""
    failures = (told(n, FAILED, b"n" * 10_000, out=b"x" * 9_000 + b"\n") for n in range(1, 1001))
    text = written(*failures, counts={FAILED: 1000})
    assert (text.count("<details>"), text.count("failed with")) == (10, FAILURES)
    assert "... and 950 more" in text
    assert len(text) < 40_000


TEXTS = st.text() | st.lists(
    st.sampled_from(
        [
            "<b>",
            "</pre>",
            "</details>",
            "|",
            "`",
            "```",
            "\n",
            "[a](b)",
            "![x](y)",
            "**",
            "_",
            "# ",
            "- ",
            "&lt;",
            "@me",
            "~~",
            "\\",
            "1. ",
            "a",
        ]
    )
).map("".join)


@given(TEXTS, TEXTS, TEXTS)
def test_no_job_writes_into_it(name: str, printed: str, what: str) -> None:
    """Whatever it prints or is called: the page has the elements that it has for harmless words."""

    def of(name: str, printed: str, what: str) -> Page:
        data = printed.encode("utf-8", "surrogateescape") if printed.strip() else b"x"
        event: Any = told(1, FAILED, name.encode("utf-8", "surrogatepass"), err=data)
        return Page(written(event, told(2), what=what, counts={FAILED: 1, Status.OK: 1}))

    assert of(name, printed, what).elements == of("name", "printed", "what").elements


def test_a_file_that_is_nearly_full(tmp_path: Path) -> None:
    """What was there stays; of ours there is the head, or nothing."""
    kept, file = JobSummary(), tmp_path / "summary.md"
    kept.finished(Finished(end(1, FAILED, err=b"why\n")))
    for room, found in ((MOST, "<details>"), (200, "### "), (10, "")):
        file.write_bytes(b"." * (MOST - room))
        kept.append(file, Summary("r", {FAILED: 1}))
        data = file.read_text()
        assert data.startswith("." * (MOST - room))
        assert found in data
        assert ("<details>" in data) == (room == MOST)
        assert len(data) <= MOST


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is made, and is nobody else's."""
    file = tmp_path / "summary.md"
    JobSummary().append(file, Summary("r"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(FileNotFoundError):
        JobSummary().append(tmp_path / "none" / "summary.md", Summary("r"))


def test_what_is_not_final_and_what_was_not_run() -> None:
    """Neither is a failure."""
    events: list[Event] = [told(1, FAILED, retry_in=1.0), told(2, Status.CANCELLED), told(3, Status.SKIPPED)]
    kept = JobSummary()
    for event in events:
        assert isinstance(event, Finished)
        kept.finished(event)
    assert (kept.failures, kept.flaky) == (0, 0)
