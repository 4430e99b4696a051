"""Chains of commands: the bytes, the ends, the statuses, as a shell would have them; and what a shell does not tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from manyhands import CommandError, Pipeline, UsageError, pipe
from manyhands.core.errors import TemplateError

pytestmark = pytest.mark.usefixtures("nothing_left")


def captured(line: str, folder: Path, **options: object) -> tuple[int, bytes, bytes]:
    result = Pipeline.parse(line).run(stdout="capture", stderr="capture", stdin=b"", cwd=folder, **options)  # type: ignore[arg-type]
    return result.returncode, result.stdout or b"", result.stderr or b""


def test_ls_to_wc(tmp_path: Path) -> None:
    """The chain of the tutorials: ``wc`` counts what ``ls`` wrote (scenario A7)."""
    for name in "abc":
        (tmp_path / name).touch()
    result = pipe(["ls", "-1"], ["wc", "-l"], cwd=tmp_path)
    assert (result.stdout or b"").split() == [b"3"]
    assert [stage.returncode for stage in result.stages] == [0, 0]


def test_the_first_ends_when_the_second_has_had_enough() -> None:
    """``yes | head -1`` ends at once; SIGPIPE is no failure there, and is told."""
    result = pipe(["yes"], ["head", "-1"], timeout=30)
    assert result.stdout == b"y\n"
    assert (result.stages[0].signal, result.is_fine(0), result.ok) == (signal.SIGPIPE, True, True)
    assert not result.timed_out


def test_a_shell_that_reports_sigpipe_is_fine_too() -> None:
    """Bash says 141 when the last command of a script died of SIGPIPE."""
    result = pipe(["bash", "-c", "yes; exit $?"], ["head", "-1"])
    assert (result.stages[0].exit, result.ok) == (141, True)


@pytest.mark.parametrize(
    ("statuses", "found"), [((0, 0, 0), 0), ((3, 0, 0), 3), ((3, 4, 0), 4), ((0, 0, 5), 5), ((3, 0, 5), 5)]
)
def test_it_fails_when_any_stage_fails(statuses: tuple[int, ...], found: int) -> None:
    """With the status of the last that failed, as bash's pipefail has it."""
    commands = [["sh", "-c", f"cat; exit {status}"] for status in statuses]
    result = pipe(*commands, stdin=b"x")
    assert (result.returncode, result.stdout) == (found, b"x")
    assert tuple(stage.exit for stage in result.stages) == statuses


def test_sigpipe_of_the_last_stage_or_another_signal_is_a_failure() -> None:
    """Only a reader that has had enough excuses it."""
    assert pipe(["true"], ["sh", "-c", "kill -PIPE $$"]).returncode == 141
    assert pipe(["sh", "-c", "kill -TERM $$"], ["cat"]).returncode == 143


LINES = [
    "printf 'b\\na\\n' | sort",
    "sort < in",
    "sort <in >out",
    "cat in | tr a-z A-Z > out",
    "cat < in >> in2",
    "sh err.sh",
    "sh err.sh 2>e",
    "sh err.sh 2>&1",
    "sh err.sh 2>&1 | cat -n",
    "sh err.sh |& cat -n",
    "sh err.sh 2>&1 >out | cat -n",
    "sh err.sh >out 2>&1",
    "sh err.sh >&2",
    "sh err.sh 2>e |& cat -n",
    "cat in in | sort -u | wc -l",
    "ls *.sh",
    "ls -d * | sort -r",
    "echo *.none",
    "grep -c x in | cat",
    "false | true | cat",
    "printf 'a%s' \"b c\" 'd|e' | cat",
    "<in cat",
    "cat < in < in2",
    "echo a > out > out2",
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_does_what_it_does_in_bash(line: str, tmp_path: Path) -> None:
    """Output, status and files are the same with ``set -o pipefail``."""
    found = []
    for name in ("ours", "bash"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "in").write_text("c\na\nb\n")
        (folder / "in2").write_text("zzz\n")
        (folder / "err.sh").write_text("echo out; echo err >&2; exit 3\n")
        if name == "ours":
            ended = captured(line, folder)
        else:
            said = subprocess.run(
                ["bash", "-o", "pipefail", "-c", line],
                cwd=folder,
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            ended = said.returncode, said.stdout, said.stderr
        files = {path.name: (path.read_bytes(), path.stat().st_mode) for path in folder.iterdir()}
        found.append((ended, files))
    assert found[0] == found[1]


def test_bytes_pass_exactly_through_any_number_of_stages() -> None:
    """0 to 255, and ten megabytes, in and out at once, without deadlock."""
    data = bytes(range(256)) * 40_000
    assert pipe(["cat"], ["cat"], ["cat"], stdin=data).stdout == data


def test_nobody_waits_for_a_stranger_that_keeps_the_output_open() -> None:
    """What is captured is a file: a background process may hold it."""
    result = pipe(["sh", "-c", "sleep 67 & echo $!"], timeout=30)
    assert not result.timed_out
    os.kill(int(result.stdout or b""), signal.SIGKILL)


def test_no_descriptor_of_ours_reaches_a_command() -> None:
    """But 0, 1 and 2."""
    result = pipe(["sh", "-c", "ls /proc/self/fd /dev/fd 2>/dev/null | sort -u | tr '\\n' ' '"], ["cat"])
    if sys.platform == "linux":
        assert b"9" not in (result.stdout or b"")
        assert {int(word) for word in (result.stdout or b"").split() if word.isdigit()} <= {0, 1, 2, 3}


def test_commands_have_ordinary_signals() -> None:
    """Python ignores SIGPIPE; what it starts must not."""
    result = pipe(["sh", "-c", "grep SigIgn /proc/$$/status || echo SigIgn: 0"])
    assert int((result.stdout or b"").split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_a_missing_program_keeps_all_others_from_running(tmp_path: Path) -> None:
    """127, with the reason at its stage; no file is made or emptied."""
    result = Pipeline.parse("touch made | nosuch > out").run(cwd=tmp_path)
    assert result.returncode == 127
    assert result.stages[1].error == "cannot start nosuch: No such file or directory"
    assert "another program" in (result.stages[0].error or "")
    assert list(tmp_path.iterdir()) == []


def test_programs_are_looked_for_where_the_command_will_run(tmp_path: Path) -> None:
    """``./x`` is relative to ``cwd``; PATH is that of ``env``."""
    (tmp_path / "x").write_text("#!/bin/sh\necho here\n")
    assert captured("./x", tmp_path)[0] == 126
    (tmp_path / "x").chmod(0o755)
    assert captured("./x", tmp_path) == (0, b"here\n", b"")
    assert captured("x", tmp_path, env={"PATH": str(tmp_path)})[:2] == (0, b"here\n")
    assert captured("x", tmp_path)[0] == 127


def test_a_file_that_cannot_be_opened_stops_it_before_anything_runs(tmp_path: Path) -> None:
    """With the name of the file."""
    with pytest.raises(FileNotFoundError) as caught:
        Pipeline.parse("touch made | cat < missing").run(cwd=tmp_path)
    assert str(caught.value.filename).endswith("missing")
    assert list(tmp_path.iterdir()) == []


def test_a_timeout_stops_every_stage() -> None:
    """124; the stages that had ended keep their status."""
    result = pipe(["sh", "-c", "exit 3"], ["sh", "-c", "sleep 60"], ["sleep", "60"], timeout=0.3)
    assert (result.returncode, result.timed_out) == (124, True)
    assert [stage.timed_out for stage in result.stages] == [False, True, True]
    assert result.stages[0].exit == 3


def test_a_tee_keeps_what_passes_a_stage(tmp_path: Path) -> None:
    """Of any stage, also the last."""
    line = (
        Pipeline.parse("printf 'b\\na\\n' | sort | head -1")
        .with_tee(3, str(tmp_path / "3"))
        .with_tee(1, str(tmp_path / "1"))
    )
    result = line.run(stdout="capture")
    assert (result.ok, result.stdout) == (True, b"a\n")
    assert (tmp_path / "1").read_text() == "b\na\n"
    assert (tmp_path / "3").read_text() == "a\n"
    with pytest.raises(UsageError, match="there is no stage 4"):
        Pipeline.parse("a | b | c").with_tee(4, "x")


def test_with_check_a_failure_is_an_exception_that_holds_everything() -> None:
    """The result, and the exit status for the command line."""
    with pytest.raises(
        CommandError, match=r"^sh -c 'echo half; exit 9' failed with exit status 9 \(stage 1 of 2\)$"
    ) as caught:
        pipe(["sh", "-c", "echo half; exit 9"], ["cat"], check=True)
    assert caught.value.exit_code == 9
    assert caught.value.result.stdout == b"half\n"
    assert pipe(["true"], check=True).ok


def test_a_text_is_no_list_of_arguments() -> None:
    """Its letters would be taken for them."""
    for one in ("ls -l", b"ls"):
        with pytest.raises(UsageError, match=r"is text, not a list of arguments: give a list, or use Pipeline\.parse"):
            pipe(one, ["wc"])  # type: ignore[arg-type]


def test_where_output_may_go(tmp_path: Path) -> None:
    """The result, nowhere, an open file, a descriptor; stderr to where stdout goes."""
    both = ["sh", "-c", "echo out; echo err >&2"]
    assert pipe(both, stderr="null").stdout == b"out\n"
    assert pipe(both, stderr="stdout").stdout == b"out\nerr\n"
    assert (pipe(both, stdout="null", stderr="capture").stderr, pipe(both, stdout="null", stderr="null").stdout) == (
        b"err\n",
        None,
    )
    with open(tmp_path / "f", "wb") as file:
        pipe(both, stdout=file, stderr=file.fileno())
    assert (tmp_path / "f").read_bytes() == b"out\nerr\n"
    with open(tmp_path / "f", "rb") as file:
        assert pipe(["cat"], stdin=file).stdout == b"out\nerr\n"
    assert pipe(["cat"], stdin=tmp_path / "f").stdout == b"out\nerr\n"
    with pytest.raises(UsageError, match="expected inherit, null, capture"):
        pipe(both, stdout="stdout")


def test_empty_pipelines_are_refused() -> None:
    """Nothing to run."""
    wrong: list[list[list[str]]] = [[], [[]], [["a"], []]]
    for commands in wrong:
        with pytest.raises(UsageError, match="at least the name"):
            pipe(*commands)
    with pytest.raises(TemplateError):
        Pipeline.parse("")


def test_arguments_of_a_list_are_taken_as_they_are(tmp_path: Path) -> None:
    """No quoting, no wildcards, any byte that a file name may hold."""
    name = os.fsdecode(b"a *\n'\"$(x)\xff")
    (tmp_path / name).write_text("found")
    assert pipe(["cat", "--", name], cwd=tmp_path).stdout == b"found"
    assert pipe(["printf", "%s|", "*", "$HOME", ""]).stdout == b"*|$HOME||"
