"""Makes the program independent of how it was started: the first thing it does, before slow imports.

The parent process may have blocked signals, closed descriptors, or chosen an output encoding that lacks our characters. Separate from
`manyhands.cli`, whose import takes most of the time of a start; this module imports little.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Final

from manyhands.runtime.interrupts import die_of_interrupts

_HANDLER: Final = "manyhands"
_PLAIN: Final = {
    **dict.fromkeys("█▉▊▋▌▍▎▏■●", "#"),
    **dict.fromkeys("─━", "-"),
    **dict.fromkeys("│┃├┌┐┘┤┬┴┼", "|"),
    "└": "`",
    "▶": ">",
    "…": "~",
    "␤": "|",
    "°": " ",
    "—": "-",
}
"""Characters that we draw with, each with an ASCII character for it, so that columns stay aligned."""


def begin() -> None:
    """Set up this process; its children inherit that. Call it once, in the main thread."""
    open_standard_descriptors()
    make_encodable()
    unblock_signals()
    die_of_interrupts()
    warnings.formatwarning = _as_line


def open_standard_descriptors() -> None:
    """Open the null device on those of descriptors 0 to 2 that are closed, or files of ours would get these numbers."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number; inherited
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115 - for good


def make_encodable() -> None:
    """Keep printing from failing if the encoding of stdout or stderr lacks a character (LC_ALL=C, latin-1)."""
    codecs.register_error(_HANDLER, _in_other_characters)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not a replacement by a test, or by a program that embeds us
            stream.reconfigure(errors=_HANDLER)


def _in_other_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    """The replacement for a character that cannot be encoded: a similar one; the byte that a surrogate stands for (PEP 383); or its
    number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return bytes([code - 0xDC00]), error.start + 1
    plain = _PLAIN.get(character)
    if plain is None:
        plain = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return plain, error.start + 1


def _as_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
    usual: Callable[..., str] = warnings.formatwarning,
) -> str:
    """Format our own warnings as one line of the program; format others in the usual way."""
    from manyhands.core.safe_text import harmless  # seldom needed

    return (
        harmless(f"manyhands: {message}\n")
        if category.__name__ == "InputWarning"
        else usual(message, category, filename, lineno, line)
    )


def unblock_signals() -> None:
    """Unblock all signals, and set SIGCHLD to its default: both are inherited over exec(2). With blocked signals we would neither
    notice the end of a child nor obey TERM."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
