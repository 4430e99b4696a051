"""Commands and all that they start: every end told exactly, nothing left when they are stopped."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import LIB, children, wait_for, with_tag
from manyhands.commands.command_tree import Tree
from manyhands.posix import linux

pytestmark = pytest.mark.usefixtures("nothing_left")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def tree() -> Iterator[Tree]:
    with Tree(grace=0.3) as made:
        yield made


def marks(tree: Tree) -> list[linux.ProcStat]:
    return with_tag(f"MH_TREE={tree.environment({})['MH_TREE']}")


@pytest.mark.parametrize("status", [0, 1, 3, 124, 127, 255])
def test_every_exit_status(tree: Tree, status: int) -> None:
    """As it is."""
    tree.start(["sh", "-c", f"exit {status}"])
    (end,) = tree.wait()
    assert (end.exit, end.signal, end.returncode, end.ok) == (status, None, status, status == 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGINT])
def test_every_death_by_a_signal(tree: Tree, number: signal.Signals) -> None:
    """With the status that a shell gives it."""
    tree.start(["sh", "-c", f"kill -{int(number)} $$"])
    (end,) = tree.wait()
    assert (end.exit, end.signal, end.returncode) == (None, number, 128 + number)


def test_what_cannot_be_started_says_why(tree: Tree, tmp_path: Path) -> None:
    """127 when it is not there, 126 when it may not be executed, or cannot be."""
    (tmp_path / "plain").write_text("x")
    assert not tree.start(["nosuch"])
    assert not tree.start([str(tmp_path / "plain")])
    assert not tree.start(["echo", "x" * 3_000_000])
    assert not tree.start(["echo", "a\0b"])
    ends = tree.wait()
    assert [end.returncode for end in ends] == [127, 126, 126, 126]
    assert (ends[0].error or "") == "cannot start nosuch: No such file or directory"
    assert "Permission denied" in (ends[1].error or "")
    assert "too long" in (ends[2].error or "")
    assert "null" in (ends[3].error or "")


def test_time_and_memory_are_those_of_the_command(tree: Tree) -> None:
    """CPU seconds by wait4(2); wall by the clock."""
    tree.start([sys.executable, "-c", "x = bytearray(80_000_000)\nfor i in range(2_000_000): pass"])
    (end,) = tree.wait()
    assert end.user > 0.005
    assert end.wall >= end.user * 0.5
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # the kernel counts the moment before exec, too
    assert 80_000_000 < end.max_rss < max(400_000_000, own + 100_000_000)


def test_ends_come_in_the_order_of_the_starts(tree: Tree) -> None:
    """Whichever ends first; the tree can be used again."""
    for seconds in ("0.2", "0", "0.1"):
        tree.start(["sh", "-c", f"sleep {seconds}; exit {int(float(seconds) * 10)}"])
    assert [end.exit for end in tree.wait()] == [2, 0, 1]
    tree.start(["true"])
    assert [end.exit for end in tree.wait()] == [0]


@linux_only
def test_at_a_timeout_the_whole_tree_goes(tree: Tree) -> None:
    """Children, a background child, and a daemon of its own session (rows 23 and 24)."""
    tree.start(["sh", "-c", "(setsid sh -c 'sleep 61; true' >/dev/null 2>&1 &) ; sleep 62 & sleep 63; true"])
    wait_for(lambda: len(marks(tree)) >= 4)
    (end,) = tree.wait(0.2)
    assert end.timed_out
    assert end.returncode == 124
    assert marks(tree) == []


@linux_only
def test_what_ignores_term_is_killed_after_the_grace(tree: Tree) -> None:
    """Not before."""
    tree.start(["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    began = time.monotonic()
    (end,) = tree.wait(0.2)
    assert end.signal == signal.SIGKILL
    assert time.monotonic() - began >= 0.5
    assert marks(tree) == []


def test_what_obeys_term_ends_as_it_wants(tree: Tree) -> None:
    """Its own status is told, beside that it was late; also when it was stopped: CONT follows."""
    tree.start(["sh", "-c", "trap 'exit 7' TERM; kill -STOP $$; while :; do sleep 0.05; done"])
    (end,) = tree.wait(0.3)
    assert (end.exit, end.timed_out, end.returncode) == (7, True, 124)


def test_only_what_was_late_is_called_late(tree: Tree) -> None:
    """A command that had ended in time is told as it ended."""
    tree.start(["true"])
    tree.start(["sleep", "60"])
    first, second = tree.wait(0.3)
    assert (first.returncode, first.timed_out, second.timed_out) == (0, False, True)


def test_what_is_left_in_the_background_lives_on(tree: Tree) -> None:
    """A command that ends by itself may leave a daemon, as in a shell; nobody waits for it."""
    reading, writing = os.pipe()
    tree.start(["sh", "-c", "sleep 64 >/dev/null 2>&1 & echo $!"], stdout=writing)
    os.close(writing)
    (end,) = tree.wait()
    with open(reading) as pipe:
        pid = int(pipe.readline())
    assert end.ok
    assert linux.read_stat(pid) is not None or sys.platform != "linux"
    os.kill(pid, signal.SIGKILL)


def test_another_thread_may_stop_it(tree: Tree) -> None:
    """`wait` returns when it is done; what stopped it is remembered, and nothing more is started by `pause`."""
    tree.start(["sleep", "60"])
    timer = threading.Timer(0.1, tree.stop, [signal.SIGHUP])
    timer.start()
    (end,) = tree.wait()
    timer.join()
    assert end.signal == signal.SIGTERM
    assert not end.timed_out
    assert tree.stopped_by == signal.SIGHUP
    assert tree.pause(60) is False


def test_a_second_stop_kills_at_once() -> None:
    """Row 21."""
    with Tree(grace=60) as tree:
        tree.start(["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
        time.sleep(0.1)
        tree.stop()
        tree.stop()
        (end,) = tree.wait()
    assert end.signal == signal.SIGKILL


def test_leaving_early_leaves_nothing() -> None:
    """An exception, such as Ctrl-C, kills what runs."""
    with pytest.raises(KeyboardInterrupt), Tree() as tree:
        tree.start(["sh", "-c", "sleep 60 & sleep 60"])
        time.sleep(0.1)
        raise KeyboardInterrupt
    assert children() == []


@linux_only
def test_a_daemon_that_forgets_its_environment_is_caught_by_a_program_that_adopts() -> None:
    """With a child subreaper nothing can run away; its orphans are collected."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.posix import linux; from manyhands.commands.command_tree import Tree\n"
        "import os\nlinux.become_subreaper()\n"
        "with Tree(grace=0.2, adopts=True) as tree:\n"
        " tree.start(['sh', '-c', 'env -i setsid sh -c \"sleep 65; true\" >/dev/null 2>&1 & sleep 66'])\n"
        " print(tree.wait(0.3)[0].returncode)\n"
        "print([one for one in linux.processes() if one.ppid == os.getpid()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(LIB)], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split("\n")[:2] == ["124", "[]"]
    assert not [one for one in linux.processes() if one.state != "Z" and _command(one.pid) == b"sleep\x0065\x00"]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_with_ignored_children_the_status_is_called_unknown() -> None:
    """Never taken for success."""
    script = (
        "import sys, signal; sys.path.insert(0, sys.argv[1]); signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from manyhands.commands.command_tree import Tree\n"
        "with Tree() as tree:\n tree.start(['true']); end = tree.wait()[0]; print(end.ok, end.error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(LIB)], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "False another part of the program took its exit status\n"


def test_without_proc_and_pidfd_it_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: found by psutil, looked at again and again."""
    isdir = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/proc/self" and isdir(path))
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    with Tree(grace=0.3) as tree:
        tree.start(["sh", "-c", "sh -c 'sleep 60; true' & sleep 60; true"])
        tree.start(["sh", "-c", "exit 4"])
        late, other = tree.wait(0.3)
    assert (late.timed_out, other.exit) == (True, 4)
    wait_for(lambda: children() == [])


def test_marks_are_nested() -> None:
    """A tree within a tree belongs to the outer one, too."""
    with Tree() as outer:
        mark = outer.environment({})["MH_TREE"]
        os.environ["MH_TREE"] = mark
        try:
            with Tree() as inner:
                assert inner.environment({})["MH_TREE"].startswith(mark + ".")
        finally:
            del os.environ["MH_TREE"]
