"""The outcome of a job for the program that runs it: with the input object itself, the result, and the exception.

Separate from `manyhands.core.job`, whose records may come from another user's folder: a pickle in such a record is never read.
"""

from __future__ import annotations

import os
from typing import Any, Final

from manyhands.core.errors import JobFailedError, ManyhandsError
from manyhands.core.job import Outcome, Output, Status, T_co
from manyhands.core.records import dataclass
from manyhands.core.serialization import from_bytes, is_pickle

_UNREAD: Final = object()


class _Open:
    """A descriptor that is closed when there is no more reference to it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@dataclass(frozen=True, slots=True)
class Unlinked(Output):
    """Output in a file that has no name any more: it exists as long as this object."""

    file: _Open | None = None


def unlinked(printed: Output) -> Output:
    """``printed``, with its file, if it has one, opened and removed. Raises ManyhandsError if too many are open."""
    if printed.path is None:
        return printed
    try:
        file = _Open(printed.path)
    except FileNotFoundError:  # it was removed: reading it raises an error
        return printed
    except OSError as error:
        why = f"an output cannot be kept open: {error.strerror}"
        raise ManyhandsError(f"{why}; delete earlier outcomes, or keep a journal") from error
    os.unlink(printed.path)
    return Unlinked(b"", f"/dev/fd/{file.number}", printed.size, printed.dropped, file)


class LiveOutcome(Outcome[T_co]):
    """See `manyhands.core.job.Outcome`, of which it has the fields."""

    _given: Any
    _found: Any = _UNREAD
    """What was returned or raised, after it was first read, so that it is the same object each time."""

    @classmethod
    def of(cls, outcome: Outcome[T_co], given: Any) -> LiveOutcome[T_co]:
        """``outcome`` of a job of this program, with its input object ``given``."""
        made = tuple.__new__(cls, outcome)
        made._given = given
        return made

    @property
    def input(self) -> Any:
        """The input object; for a job that an earlier execution has read, an equal one."""
        return self._given

    def _returned(self) -> Any:
        if self._found is not _UNREAD:
            return self._found
        try:
            self._found = None if self.result is None else from_bytes(self.result)
        except Exception as error:  # unpickling a result may raise anything
            why = f"what it returned cannot be read here: {type(error).__name__}: {error}"
            raise JobFailedError(self.number, self.input, why) from error
        return self._found

    def _raised(self) -> BaseException | None:
        if self.status is not Status.FAILED or self.result is None or not is_pickle(self.result):
            return None
        if self._found is _UNREAD:
            try:
                self._found = from_bytes(self.result)
            except Exception:  # then only its text is available
                self._found = None
        return self._found  # type: ignore[no-any-return]
