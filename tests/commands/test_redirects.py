"""A FIFO waits for its other end, and a limit holds there, too."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from manyhands import Pipeline
from manyhands.commands.command_tree import Tree
from manyhands.commands.redirects import Opener

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A FIFO that no process has opened."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.mark.parametrize("line", ["cat < fifo", "echo hi > fifo", "echo hi 2>> fifo | cat"])
def test_a_fifo_that_nobody_else_opens_ends_at_the_timeout(line: str, fifo: Path) -> None:
    """The commands were not begun, and it says why."""
    result = Pipeline.parse(line).run(timeout=0.3, cwd=fifo.parent, stdin=b"")
    assert (result.timed_out, result.returncode) == (True, 124)
    assert "no process has opened the other end" in (result.stages[0].error or "")


def test_the_input_may_be_such_a_fifo(fifo: Path) -> None:
    """As a path given to stdin."""
    assert Pipeline.of(["cat"]).run(timeout=0.3, stdin=fifo).returncode == 124


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_fifo_works_when_the_other_end_comes(timeout: float | None, fifo: Path) -> None:
    """Later than we; everything arrives, and reading waits as ever (O_NONBLOCK is not left to the command)."""
    writer = threading.Thread(target=lambda: fifo.write_text("one\ntwo\n"))
    writer.start()
    result = Pipeline.parse("cat < fifo").run(stdout="capture", timeout=timeout, cwd=fifo.parent)
    writer.join()
    assert (result.returncode, result.stdout) == (0, b"one\ntwo\n")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_text()))
    reader.start()
    assert Pipeline.parse("echo hi > fifo").run(timeout=timeout, cwd=fifo.parent).ok
    reader.join()
    assert found == ["hi\n"]


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
def test_a_call_of_stop_ends_the_wait(flags: int, fifo: Path) -> None:
    """From a signal handler or another thread."""
    with Tree() as tree:
        stopper = threading.Timer(0.1, tree.stop)
        stopper.start()
        with pytest.raises(TimeoutError, match="no process has opened"):
            Opener(tree, None).open(str(fifo), flags)
        stopper.join()


def test_other_files_are_opened_as_a_shell_does(tmp_path: Path) -> None:
    """Made with what the umask leaves."""
    before = os.umask(0o027)
    with Tree() as tree:
        os.close(Opener(tree, None).open(str(tmp_path / "made"), os.O_WRONLY | os.O_CREAT))
    os.umask(before)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o640
