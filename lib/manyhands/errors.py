"""What can go wrong, as types that carry their exit status.

Separate and at the bottom, because every floor raises these and only the command line turns them into a line of text and an
exit status. The numbers are those of sysexits(3) where it has one, of the shell otherwise.
"""

from __future__ import annotations


class ManyhandsError(Exception):
    """A failure that is explained by its one-line message; ``exit_code`` is what the process should end with."""

    exit_code = 1


class UsageError(ManyhandsError):
    """The user asked for something that cannot be meant. Raised before anything is run."""

    exit_code = 2


class TemplateError(UsageError):
    """A command template that cannot be parsed; the message shows the template with a caret under ``column`` (from 0)."""

    def __init__(self, reason: str, text: str, column: int) -> None:
        self.reason, self.text, self.column = reason, text, column
        if not text.strip():
            super().__init__(reason)
            return
        first = max(0, column - 40)
        shown = "".join(one if one.isprintable() else " " for one in text[first : column + 30])
        super().__init__(f"{reason}, at column {column + 1}:\n  {shown}\n  {' ' * (column - first)}^")


class InputError(UsageError):
    """An input source that cannot be read as asked; says which file and line."""


class CannotCreateError(ManyhandsError):
    """The state folder or a run in it cannot be made or trusted (sysexits EX_CANTCREAT)."""

    exit_code = 73


class JournalError(ManyhandsError):
    """The journal cannot be written or read (sysexits EX_IOERR)."""

    exit_code = 74


class JobFailedError(ManyhandsError):
    """A job of `manyhands.map_batch` did not return. ``number`` counts the inputs from 1; ``traceback`` is the job's, if it raised."""

    def __init__(self, number: int, given: object, error: str, traceback: str | None) -> None:
        self.number, self.given, self.error, self.traceback = number, given, error, traceback
        super().__init__(f"job {number}, of {given!r:.80}: {error}")


class BusyError(ManyhandsError):
    """Somebody else holds the run (sysexits EX_TEMPFAIL)."""

    exit_code = 75


class InputWarning(UserWarning):
    """A list of inputs is read otherwise than byte for byte, or probably not as it was meant."""
