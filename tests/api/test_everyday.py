"""The everyday functions for programs: they do what the tasks of the same names do, and say `name=`, not `--name`, in their errors."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manyhands import CommandError, Level, UsageError, answer, check_host, check_output, retry, wait, watch

pytestmark = pytest.mark.usefixtures("nothing_left")
COUNTS = "echo x >> tries; exit $(($(wc -l < tries) < 3))"


def test_retry_gives_the_end_of_the_last_try(tmp_path: Path) -> None:
    """The first that succeeds, or the last one that there may be."""
    done = retry(["sh", "-c", COUNTS], ["cat"], times=5, backoff=0.01, cwd=tmp_path)
    assert (done.ok, (tmp_path / "tries").read_text()) == (True, "x\nx\nx\n")
    assert retry(["sh", "-c", "exit 4"], times=2, backoff="10ms").returncode == 4


def test_retry_tries_again_only_what_is_named(tmp_path: Path) -> None:
    """By exit status, also with words; `check` raises what the last try was."""
    count = ["sh", "-c", "echo x >> tries; exit 7"]
    with pytest.raises(CommandError, match="failed with exit status 7") as caught:
        retry(count, times=3, backoff=0.01, retry_on=[75, "timeout"], cwd=tmp_path, check=True)
    assert (tmp_path / "tries").read_text() == "x\n"
    assert caught.value.result.returncode == 7
    assert retry(count, times=3, backoff=0.01, retry_on="1-9", cwd=tmp_path).returncode == 7
    assert (tmp_path / "tries").read_text() == "x\n" * 4


def test_each_try_has_its_own_time(tmp_path: Path) -> None:
    """All that a try has started is stopped when its time is up."""
    done = retry(["sh", "-c", "echo x >> tries; sleep 60"], times=2, backoff=0.01, timeout=0.3, grace=1, cwd=tmp_path)
    assert (done.returncode, done.timed_out, (tmp_path / "tries").read_text()) == (124, True, "x\nx\n")


def test_watch_ends_when_what_is_waited_for_has_come(tmp_path: Path) -> None:
    """The last look says so; what is left early stops."""
    looks = list(watch(["sh", "-c", COUNTS], every=0.01, until="success", cwd=tmp_path))
    assert [one.met for one in looks] == [False, False, True]
    changes = list(watch(["sh", "-c", "wc -l < tries; echo x >> tries"], every=0.01, until="change", cwd=tmp_path))
    assert [one.output.strip() for one in changes] == [b"3", b"4"]
    assert len(list(watch(["true"], every=0.01, times=3))) == 3
    assert next(watch(["echo", "x"], until=re.compile(b"x"))).met
    for one in watch(["echo", "y"], every=0.01):
        assert not one.met
        break


def test_answer_types_what_belongs_to_each_prompt() -> None:
    """As pairs or as a mapping; on pipes or on a terminal of its own."""
    asks = ["sh", "-c", "printf 'name? '; read a; printf 'sure? '; read b; echo $a-$b; exit 3"]
    for replies in ({"name": "me", r"sure\?": "y"}, [("name", "me"), (r"sure\?", "y")]):
        done = answer(asks, replies, timeout=20)
        assert (done.end.returncode, done.replies, done.screen.split()[-1]) == (3, (1, 1), "me-y")
    assert answer(asks, {"name": "me"}, terminal=True, timeout=0.5, grace=1).end.timed_out


def test_check_output_is_exact_and_knows_folder_and_environment(tmp_path: Path) -> None:
    """Bytes as they are; a failure is an error that has them."""
    assert check_output(
        ["sh", "-c", "cat; pwd; echo $A"], stdin=b"\0\xff", cwd=tmp_path, env={"A": "b", "PATH": "/bin"}
    ) == (b"\0\xff%s\nb\n" % bytes(tmp_path.resolve()))
    with pytest.raises(CommandError, match="sh -c 'echo x; exit 9' failed with exit status 9") as caught:
        check_output(["sh", "-c", "echo x; exit 9"])
    assert caught.value.result.stdout == b"x\n"
    with pytest.raises(CommandError, match=r"was stopped after 0\.2 s"):
        check_output(["sleep", "60"], timeout=0.2, grace=1)


def test_check_host_compares_what_it_measures_with_the_thresholds() -> None:
    """In the order of the arguments; a value above the second threshold is critical."""
    found = check_host(
        load=10_000, memory="0%,100%", disks={"/": "100%"}, inodes={"/": "100%"}, processes="1,2", zombies=99_999
    )
    assert [one.name for one in found] == ["load", "memory", "processes", "zombies", "/", "/ inodes"]
    assert [one.level for one in found][:3] == [Level.OK, Level.WARNING, Level.CRITICAL]


def test_wait_for_each_kind_of_thing(tmp_path: Path) -> None:
    """A process, a port, a file, a line; False, or no line, when the time was up first."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert wait(pid=process.pid, timeout=0.05) is False
        assert process.stdin
        process.stdin.close()
        assert wait(pid=[process.pid], timeout=20) is True
    assert wait(port=1, timeout=0.05) is False
    assert wait(port=1, host="localhost", gone=True, timeout=5) is True
    log = tmp_path / "log"
    assert wait(file=log, timeout=0.05) is False
    log.write_text("starting\nlistening on 8080\n")
    assert wait(file=log, timeout=5) is True
    assert wait(file=log, log=r"on (\d+)", timeout=5) == "listening on 8080"
    assert wait(file=log, log=re.compile("on"), new=True, timeout=0.05) is None
    assert wait(file=tmp_path / "other", gone=True, timeout=5) is True


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: retry(["true"], times=0), "times=0"),
        (lambda: retry(["true"], retry_on="ValueError"), "retry_on=ValueError"),
        (lambda: retry(["true"], backoff="soon"), "backoff='soon'"),
        (lambda: retry("true"), "'true' is text"),
        (lambda: watch(["true"], times=0), "times=0"),
        (lambda: watch(["true"], until="never"), "until='never'"),  # type: ignore[arg-type]
        (lambda: watch(["true"], until=re.compile("text")), "until="),  # type: ignore[arg-type]
        (lambda: wait(), "say what to wait for"),  # type: ignore[call-overload]
        (lambda: wait(pid=1, port=2), "say what to wait for"),  # type: ignore[call-overload]
        (lambda: wait(pid=1, gone=True), "gone"),  # type: ignore[call-overload]
        (lambda: wait(file="x", host="h"), "host"),  # type: ignore[call-overload]
        (lambda: wait(port=1, log="x"), "log"),  # type: ignore[call-overload]
        (lambda: wait(file="x", new=True), "new"),  # type: ignore[call-overload]
        (lambda: check_host(), "nothing to check: give load, memory, swap, disks, inodes, processes or zombies"),
        (lambda: check_host(load="high"), "load='high': expected a number"),
        (lambda: check_host(disks={"/": "5"}), "disks='5': expected a percentage"),
        (lambda: answer(["true"], {"(": "y"}), "missing \\)"),
    ],
)
def test_what_is_invalid_is_refused_before_anything_runs(wrong: Callable[[], object], said: str) -> None:
    """Where it is called, not when the first result is asked for."""
    with pytest.raises(UsageError, match=said) as caught:
        wrong()
    assert "\n" not in str(caught.value)
