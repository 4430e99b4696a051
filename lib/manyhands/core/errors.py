"""The errors, each with its exit status.

Separate and at the bottom, because all packages raise these, and only the command line turns them into a line of text and an exit
status. The numbers are those of sysexits(3) if it has one, else those of the shell.
"""

from __future__ import annotations


class ManyhandsError(Exception):
    """A failure that is explained by its one-line message; ``exit_code`` is what the process should end with."""

    exit_code = 1


class UsageError(ManyhandsError):
    """The request is invalid. Raised before anything is run."""

    exit_code = 2


class WrongTypeError(UsageError, TypeError):
    """An argument of the wrong type."""


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

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason, self.text, self.column)


class InputError(UsageError):
    """An input source that cannot be read as requested; names the file and line."""


class NotRunningError(ManyhandsError):
    """Something was asked of a run that nobody carries out now, or that is just beginning or ending."""


class UnavailableError(ManyhandsError):
    """A broker, or all hosts, cannot be reached now (sysexits EX_UNAVAILABLE). Raised before anything is run."""

    exit_code = 69


class CannotCreateError(ManyhandsError):
    """The state folder or a run in it cannot be made or trusted (sysexits EX_CANTCREAT)."""

    exit_code = 73


class JournalError(ManyhandsError):
    """The journal cannot be written or read (sysexits EX_IOERR)."""

    exit_code = 74


class JobFailedError(ManyhandsError):
    """A job did not end well; its cause is what the function raised, if that could travel.

    ``number`` counts the inputs from 1, ``given`` is the input, ``error`` says why in one line; ``traceback`` is the job's, if it
    raised, or the end of what a command printed to stderr. Python shows it below the message.
    """

    def __init__(self, number: int, given: object, error: str, traceback: str | None = None) -> None:
        self.number, self.given, self.error, self.traceback = number, given, error, traceback
        super().__init__(f"job {number} (input {_shown(given)}): {error}")
        if traceback:
            self.add_note("In the job:\n" + traceback.rstrip("\n"))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.number, self.given, self.error, self.traceback)


class JobTimeoutError(JobFailedError, TimeoutError):
    """A job was stopped because its time-out was over."""


def _shown(given: object) -> str:
    try:
        return f"{given!r:.80}"
    except Exception:  # a __repr__ may raise anything
        return f"a {type(given).__name__}"


class BusyError(ManyhandsError):
    """Another process holds the lock of the run (sysexits EX_TEMPFAIL)."""

    exit_code = 75


class BatchWarning(UserWarning):
    """A problem of a batch that a program runs, other than a failed job: the batch continues, but not exactly as requested."""


class InputWarning(UserWarning):
    """A list of inputs is not read byte for byte, or probably not as intended."""


# The name by which programs know it: in tracebacks, and in pickles that outlive a move.
for _public in (
    ManyhandsError,
    UsageError,
    WrongTypeError,
    TemplateError,
    InputError,
    CannotCreateError,
    JournalError,
    JobFailedError,
    JobTimeoutError,
    BusyError,
    BatchWarning,
    InputWarning,
):
    _public.__module__ = "manyhands"
