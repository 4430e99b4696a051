"""Prompts are answered, each when it comes; what nobody answers is told (scenario A9)."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from manyhands.commands.byte_queue import ByteQueue
from manyhands.commands.expect import answer
from manyhands.core.errors import UsageError

pytestmark = pytest.mark.usefixtures("nothing_left")

TWICE = "printf 'really? '; read a; printf 'sure? '; read b; echo \"[$a$b]\""


@pytest.mark.parametrize("terminal", [False, True])
def test_both_prompts_get_their_answers(terminal: bool, tmp_path: Path) -> None:
    """Over pipes and on a terminal of its own."""
    path = tmp_path / "shown"
    pairs = [("really\\?", "y"), ("sure\\?", "n")]
    with path.open("wb", buffering=0) as file, ByteQueue(file.fileno()) as shown:
        done = answer(["sh", "-c", TWICE], pairs, terminal=terminal, timeout=30, show=shown)
    assert (done.end.returncode, done.replies) == (0, (1, 1))
    assert path.read_bytes().split() == [b"really?", b"sure?", b"[yn]"]
    assert "[yn]" in done.screen


def test_one_pattern_may_answer_many_prompts() -> None:
    """As often as it appears."""
    script = "for i in 1 2 3 4 5; do printf 'go on? '; read a; echo $a; done"
    done = answer(["sh", "-c", script], [("go on\\?", "yes")], timeout=30)
    assert (done.end.ok, done.replies) == (True, (5,))


def test_a_password_is_asked_for_on_the_terminal_only() -> None:
    """getpass opens the controlling terminal; what is typed is not echoed."""
    script = "import getpass; print(len(getpass.getpass('Password: ')))"
    done = answer([sys.executable, "-c", script], [("Password:", "sesame")], terminal=True, timeout=30)
    assert done.end.ok
    assert "6" in done.screen
    assert "sesame" not in done.screen


def test_the_terminal_is_one() -> None:
    """With a size, on all three descriptors."""
    done = answer(["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size"], [], terminal=True, timeout=30)
    assert done.screen.split() == ["24", "80"]


def test_an_unanswered_prompt_ends_at_the_timeout_with_the_screen() -> None:
    """So that one sees what was asked."""
    done = answer(["sh", "-c", TWICE], [("really\\?", "y"), ("never", "x")], timeout=0.5)
    assert (done.end.timed_out, done.end.returncode, done.replies) == (True, 124, (1, 0))
    assert done.screen.endswith("sure? ")


def test_a_prompt_after_much_output_is_found() -> None:
    """Megabytes of talk take no quadratic time, and characters are not torn."""
    script = "import sys; sys.stdout.write('ä€ blah\\n' * 400_000); print(input('now? '))"
    done = answer([sys.executable, "-c", script], [("now\\? ", "answer")], timeout=60)
    assert done.end.ok
    assert done.replies == (1,)
    assert done.screen.splitlines()[-1] == "now? answer"
    assert "\ufffd" not in done.screen


def test_a_coloured_prompt_is_searched_as_it_is_seen() -> None:
    """Also when a control sequence comes in two pieces."""
    script = "import sys, time; w = lambda t: (sys.stdout.write(t), sys.stdout.flush()); w('\\x1b[1'); time.sleep(0.2); w('mName:\\x1b[0m ');"
    done = answer([sys.executable, "-c", script + "print(input())"], [("^Name: $", "bob")], timeout=60)
    assert (done.replies, done.screen) == ((1,), "Name: bob")


def test_a_program_that_leaves_is_not_waited_for() -> None:
    """Nor is its background child, which holds the pipe."""
    done = answer(["sh", "-c", "echo hi; sleep 1 & exit 3"], [("x", "y")], timeout=60)
    assert (done.end.exit, done.screen) == (3, "hi")


def test_mistakes() -> None:
    """A pattern that is none; a program that is not there."""
    with pytest.raises(UsageError, match="--expect"):
        answer(["cat"], [("(", "x")])
    for terminal in (False, True):
        done = answer(["nosuch"], [("x", "y")], terminal=terminal)
        assert (done.end.returncode, done.end.error) == (127, "cannot start nosuch: No such file or directory")


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("pattern", ["y", "never"])
def test_a_program_that_prints_without_end_and_reads_nothing_ends_at_the_timeout(terminal: bool, pattern: str) -> None:
    """Whether its prompts are answered, and nobody takes the answers, or not."""
    began = time.monotonic()
    done = answer(["yes"], [(pattern, "x")], terminal=terminal, timeout=0.5)
    assert (done.end.timed_out, bool(done.replies[0])) == (True, pattern == "y")
    assert time.monotonic() - began < 30  # it hung


@pytest.mark.parametrize("program", ["yes", "echo hello; head -c 3000000 /dev/zero"])
def test_a_reader_that_does_not_read_cannot_delay_the_timeout(program: str) -> None:
    """Ctrl-S, or a pipe that nobody empties."""
    reading, writing = os.pipe()
    with ByteQueue(writing) as shown:
        done = answer(["sh", "-c", program], [("never", "x")], timeout=0.5, show=shown)
        assert done.end.timed_out
    os.close(reading)
    os.close(writing)


def test_what_was_shown_late_is_delivered() -> None:
    """All of it comes, however slowly it is read, when the limit allows."""
    reading, writing = os.pipe()
    found = bytearray()

    def read() -> None:
        while block := os.read(reading, 20_000):
            found.extend(block)

    reader = threading.Thread(target=read)
    with ByteQueue(writing) as shown:
        reader.start()
        done = answer(["head", "-c", "3000000", "/dev/zero"], [("never", "x")], timeout=60, show=shown)
    os.close(writing)
    reader.join()
    os.close(reading)
    assert (done.end.ok, len(found)) == (True, 3_000_000)


def test_a_stranger_that_goes_on_printing_is_not_waited_for() -> None:
    """A background process that fills the pipe for ever after its program has ended."""
    done = answer(["sh", "-c", "yes & exit 3"], [("never", "x")], timeout=60)
    assert done.end.exit == 3
