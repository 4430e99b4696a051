"""How the program ends: what is raised becomes one line on stderr and an exit status.

    0 ok   1 failed   2 usage   124 a command's timeout   128+n a command died of signal n   141 nobody reads our output
    69 73 74 75 see `manyhands.core.errors`   Ctrl-C: death by SIGINT itself, so that a shell loop around us stops, too

An exception that none of these explains is a bug: it keeps its traceback, and the status 1.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
from typing import Final, NoReturn

from invoke.exceptions import CommandTimedOut, Exit, ParseError, ThreadException, UnexpectedExit
from invoke.parser import ParserContext

from manyhands.core.errors import ManyhandsError
from manyhands.core.safe_text import harmless

_PATH: Final = frozenset({errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ETXTBSY})
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
_OF_THE_USER: Final = _PATH | _REFUSED | _NO_ROOM | _SCARCE


class Misuse(ParseError, Exit):
    """An invalid command line: a ParseError for those in invoke who catch one, an Exit with status 2 for
    `Program.run`, which would end with 1 for a ParseError alone."""

    def __init__(self, text: str, context: ParserContext | None = None, code: int = 2) -> None:
        if match := re.fullmatch(r"No idea what ['\"](.+)['\"] is!", text):
            text = f"unknown: {match[1]}"
        ParseError.__init__(self, text, context)
        self.text = text
        self.message, self._code = (
            None,
            code,
        )  # Program.run prints a ParseError by itself, and an Exit if it has a message

    def __str__(self) -> str:
        return harmless(f"manyhands: {self.text}")


def explained(error: Exception) -> Exit | None:
    """The line and the status for what a user can cause; None for a bug."""
    if isinstance(error, ManyhandsError):
        return Exit(harmless(f"manyhands: {error}"), code=error.exit_code)
    if isinstance(error, UnexpectedExit):
        code = error.result.exited
        return Exit(str(error) if error.result.hide else None, code=code if code >= 0 else 128 - code)
    if isinstance(error, CommandTimedOut):
        return Exit(f"manyhands: {str(error).splitlines()[0]}", code=124)
    if isinstance(error, OSError) and error.errno in _OF_THE_USER:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        where = ": ".join([*(names or _places(error)), error.strerror or str(error)])
        return Exit(harmless(f"manyhands: {where}"), code=1)
    return None


def _places(error: OSError) -> list[str]:
    """Where it may have been, if the error does not say."""
    if error.errno in _NO_ROOM:
        return ["cannot write to a file in the temporary folder" if _stdout_takes_more() else "standard output"]
    if error.errno == errno.ENOENT and not _has_folder():
        return ["the folder that this was started in has been removed"]
    return []


def _stdout_takes_more() -> bool:
    """Whether what is buffered can be written; what could not be written before is still there."""
    try:
        sys.stdout.write("")
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _has_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def end_by_full_output(error: OSError) -> NoReturn:
    """End with one line because standard output takes nothing; what is still buffered goes nowhere."""
    end = explained(error) or error
    discard_output()
    raise end


def flush_output() -> None:
    """Write what is buffered, here, where it can still be told that nobody reads it or that it has no place."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        end_by_closed_pipe()
    except OSError as error:
        end_by_full_output(error)


def discard_output() -> None:
    """Let what is still buffered go nowhere, or Python would complain at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def is_closed_pipe(error: BaseException) -> bool:
    """Whether it says that nobody reads our output any more; `ctx.run` copies it in threads, and wraps what happens there."""
    if isinstance(error, ThreadException):
        return any(is_closed_pipe(one.value) for one in error.exceptions)
    return isinstance(error, BrokenPipeError)


def was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C has ended us, or the command of a `ctx.run`, which has got the terminal's SIGINT as we did."""
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, UnexpectedExit) and error.result.exited == -signal.SIGINT
    )


def end_by_closed_pipe() -> NoReturn:
    """End as a program that SIGPIPE ended."""
    discard_output()
    raise Exit(code=128 + signal.SIGPIPE) from None


def end_by_interrupt() -> None:
    """Die by SIGINT itself: a status of 130 alone would let a shell loop go on (https://www.cons.org/cracauer/sigint.html)."""
    from manyhands.posix.signals import die_by

    with contextlib.suppress(OSError):  # its reader has got the Ctrl-C, too
        sys.stdout.flush()
    die_by(signal.SIGINT)
