"""What functions return is a line of JSON after what they printed; a traceback is shown once for each kind of error."""

from __future__ import annotations

import pytest

from made_events import end
from manyhands.core.job import Output, Status
from manyhands.render.returned import Raised, returned

PLACE = 'Traceback (most recent call last):\n  File "/a/x.py", line {line}, in go\n    boom\nValueError: {said}\n'


@pytest.mark.parametrize(
    ("result", "out", "line"),
    [
        (b"5", b"", b"5\n"),
        (b'"x"', b"said\n", b'"x"\n'),
        (b"[1]", b"no newline", b"\n[1]\n"),
        (b"null", b"x", None),
        (None, b"x", None),
    ],
)
def test_a_result_is_a_line(result: bytes | None, out: bytes, line: bytes | None) -> None:
    """Of its own; nothing is said of None, nor of commands."""
    shown = returned(end(1, out=out, result=result))
    assert (shown.data if shown else None) == line


def test_removed_output_does_not_hide_the_result() -> None:
    """It is told elsewhere that its file is gone."""
    outcome = end(1, result=b"5", stdout=Output(b"", "/nowhere", 5))
    shown = returned(outcome)
    assert shown is not None
    assert shown.data == b"5\n"


def test_a_traceback_is_shown_once_for_each_kind() -> None:
    """Told apart by type and place, not by the message; the count comes at the end."""
    seen = Raised()

    def show(line: int, said: str) -> list[str]:
        outcome = end(1, Status.FAILED, exit=1, error=f"ValueError: {said}", traceback=PLACE.format(line=line, said=said))
        return list(seen.traceback(outcome))

    assert show(3, "a") == ["  Traceback (most recent call last):", '    File "/a/x.py", line 3, in go', "      boom"]
    assert show(3, "b") == []
    assert len(show(4, "a")) == 3
    assert list(seen.told()) == ["2 times ValueError at x.py, line 3"]


def test_a_traceback_is_harmless() -> None:
    """Whatever the source or the message holds."""
    seen = Raised()
    outcome = end(1, Status.FAILED, error="E", traceback='  File "\x1b[31mx", line 1\n    \x1b]0;title\x07\nE\n')
    text = "\n".join(seen.traceback(outcome)) + "\n".join(seen.told())
    assert "\x1b" not in text
    assert "\x07" not in text


def test_there_is_nothing_to_tell_of_commands() -> None:
    """They have no tracebacks."""
    seen = Raised()
    assert list(seen.traceback(end(1, Status.FAILED, exit=3))) == []
    assert list(seen.told()) == []
