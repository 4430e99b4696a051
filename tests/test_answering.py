"""Prompts are answered, each when it comes; what nobody answers is told (scenario A9)."""

from __future__ import annotations

import sys

import pytest

from manyhands.answering import answer
from manyhands.errors import UsageError

pytestmark = pytest.mark.usefixtures("nothing_left")

TWICE = "printf 'really? '; read a; printf 'sure? '; read b; echo \"[$a$b]\""


@pytest.mark.parametrize("terminal", [False, True])
def test_both_prompts_get_their_answers(terminal: bool) -> None:
    """Over pipes and on a terminal of its own."""
    shown: list[bytes] = []
    done = answer(
        ["sh", "-c", TWICE], [("really\\?", "y"), ("sure\\?", "n")], terminal=terminal, timeout=30, show=shown.append
    )
    assert (done.end.status, done.replies) == (0, (1, 1))
    assert b"".join(shown).split() == [b"really?", b"sure?", b"[yn]"]
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


def test_the_terminal_is_one(tmp_path: object) -> None:
    """With a size, on all three descriptors."""
    done = answer(["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size"], [], terminal=True, timeout=30)
    assert done.screen.split() == ["24", "80"]


def test_an_unanswered_prompt_ends_at_the_timeout_with_the_screen() -> None:
    """So that one sees what was asked."""
    done = answer(["sh", "-c", TWICE], [("really\\?", "y"), ("never", "x")], timeout=0.5)
    assert (done.end.timed_out, done.end.status, done.replies) == (True, 124, (1, 0))
    assert done.screen.endswith("sure? ")


def test_a_prompt_after_much_output_is_found() -> None:
    """Megabytes of talk take no quadratic time, and characters are not torn."""
    script = "import sys; sys.stdout.write('ä€ blah\\n' * 400_000); print(input('now? '))"
    done = answer([sys.executable, "-c", script], [("now\\? ", "answer")], timeout=60)
    assert done.end.ok
    assert done.replies == (1,)
    assert done.screen.splitlines()[-1] == "now? answer"
    assert "\ufffd" not in done.screen


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
        assert (done.end.status, done.end.error) == (127, "cannot start nosuch: No such file or directory")
