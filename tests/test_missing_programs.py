"""A test is skipped for a program that is not installed, and for nothing else."""

from __future__ import annotations

import subprocess

import pytest

import missing_programs
from missing_programs import missing


@pytest.fixture(autouse=True)
def nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a bare machine."""
    monkeypatch.setattr("shutil.which", lambda _: None)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (FileNotFoundError(2, "No such file or directory", "ps"), "ps"),
        (FileNotFoundError(2, "No such file or directory", "notes.txt"), None),
        (subprocess.CalledProcessError(127, "x", stderr="bash: line 1: pstree: command not found\n"), "pstree"),
        (AssertionError("assert (0, '') == (127, 'sh: 1: free: not found')\nsh: 1: free: not found"), "free"),
        (AssertionError("sh: 1: our-own: not found"), None),
        (AssertionError("ps is wrong"), None),
    ],
)
def test_the_program_that_lacks_is_found(error: Exception, name: str | None) -> None:
    """Whoever wanted to start it: Python, bash or dash."""
    assert missing(error) == name


def test_what_is_installed_is_no_excuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that fails where the program is there fails."""
    monkeypatch.setattr("shutil.which", lambda _: "/bin/ps")
    assert missing(FileNotFoundError(2, "No such file or directory", "ps")) is None


def test_a_skip_says_its_name() -> None:
    """And an error of another kind stays one."""

    def outcome(error: Exception) -> BaseException:
        running = missing_programs.pytest_runtest_call()
        next(running)
        with pytest.raises(BaseException) as caught:
            running.throw(error)
        return caught.value

    assert str(outcome(FileNotFoundError(2, "none", "strace"))) == "strace is not installed"
    assert isinstance(outcome(ValueError("x")), ValueError)
