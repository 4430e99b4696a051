"""A forked child has no part in its parent's batches, whether it does something about it or not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import LIB, wait_for, with_tag
from manyhands.runtime import at_fork


def in_child(action: Callable[[], bool]) -> bool:
    """What ``action`` says in a forked child, which then ends."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if action() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_noted_is_the_null_device_in_a_child(tmp_path: Path) -> None:
    """What was closed before is not touched, although another file may have its number; the parent keeps all."""
    ours, theirs = socket.socketpair()
    gone = (tmp_path / "gone").open("wb", buffering=0)
    at_fork.note(ours, gone)
    number = gone.fileno()
    gone.close()
    with (tmp_path / "kept").open("wb", buffering=0) as other:
        assert other.fileno() == number
        null = os.stat(os.devnull).st_rdev
        assert in_child(lambda: os.fstat(ours.fileno()).st_rdev == null and os.fstat(other.fileno()).st_rdev != null)
    ours.send(b"x")
    assert theirs.recv(1) == b"x"
    ours.close()
    theirs.close()


def is_multiprocessing(pid: int) -> bool:
    """Whether it is the fork server or the resource tracker, which live as long as any fork of the program."""
    try:
        return b"multiprocessing." in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


PROGRAM = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from manyhands import run_batch
if __name__ == "__main__":
    with run_batch({work}, jobs=2) as run:
        next(run)
        child = os.fork()
        if child == 0:
            os.environ.clear()
            os.execv("/bin/sleep", ["sleep", "600"]) if sys.argv[2] == "exec" else time.sleep(600)
        print(child, flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    "work", ["'sleep {}', ['0', '600', '600']", "time.sleep, [0, 600, 600]"], ids=["commands", "processes"]
)
@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_child_that_lives_on_hides_no_death_of_its_parent(work: str, how: str, tmp_path: Path) -> None:
    """The jobs of a program that is killed end although a fork of it, which knows nothing of them, goes on."""
    (tmp_path / "program.py").write_text(PROGRAM.replace("{work}", work))
    mark = f"PROGRAM={tmp_path}"
    environment = dict(os.environ) | {"PROGRAM": str(tmp_path)}
    command = [sys.executable, str(tmp_path / "program.py"), str(LIB), how]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path)
    assert program.stdout is not None
    child = int(program.stdout.readline())
    try:
        program.kill()
        program.wait()
        wait_for(lambda: not [one for one in with_tag(mark) if one.pid != child and not is_multiprocessing(one.pid)], 30)
        assert os.path.isdir(f"/proc/{child}")
    finally:
        os.kill(child, signal.SIGKILL)
        program.stdout.close()
