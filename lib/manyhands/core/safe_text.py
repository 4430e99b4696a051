"""Makes other programs' bytes harmless for a terminal: characters that move the cursor, change colours or hide text become visible.

All text from a job, a name or a file that is shown to people goes through here; output to files and pipes does not. Colours of jobs
may be kept on a terminal.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Final

from manyhands.core.terminal_escapes import COLOUR, HARMFUL, RESET, torn

_NO_WIDTH: Final = frozenset({"Mn", "Me", "Cf"})


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def harmless(text: str | bytes) -> str:
    """``text`` with every control character and undecodable byte made visible (``^[``, ``\\x9b``, ``\\u202e``).

    Printable text, newlines and TABs stay as they are; CR LF becomes a newline.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return HARMFUL.sub(_shown, text.replace("\r\n", "\n"))


class Harmless:
    """`harmless` for a stream that comes in pieces: sequences that are split between two pieces are joined first. ``colours``: keep
    colours, and reset them at the end."""

    def __init__(self, *, colours: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._colours, self._coloured = colours, False
        self._held = ""

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Convert the next piece; with ``final``, also return what was held back because more could have followed."""
        text = self._held + self._decoder.decode(data, final)
        end = len(text)
        if not final:
            end = torn(text) if self._colours else end
            end -= text.endswith("\r", 0, end)  # a newline may follow
        text, self._held = text[:end], text[end:]
        return self._with_colours(text, final) if self._colours else harmless(text)

    def _with_colours(self, text: str, final: bool) -> str:
        found, at = [], 0
        for colour in COLOUR.finditer(text):
            found += [harmless(text[at : colour.start()]), colour[0]]
            self._coloured, at = colour[0] not in (RESET, "\x1b[m"), colour.end()
        found += [harmless(text[at:]), RESET if final and self._coloured else ""]
        return "".join(found)


def cells(text: str) -> int:
    """How many columns of a terminal ``text`` takes (Unicode TR 11)."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def _cell(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def one_line(text: str | bytes, width: int) -> str:
    """``text`` harmless, on one line of at most ``width`` columns, cut with an ellipsis."""
    most = 8 * max(width, 1)  # an input may be megabytes: skip what can never be shown
    shown = harmless(text[:most]).replace("\n", "␤").replace("\t", " ")
    if len(text) <= most and cells(shown) <= width:
        return shown
    room, kept = width - 1, 0
    for character in shown:
        room -= _cell(character)
        if room < 0:
            break
        kept += 1
    return shown[:kept] + "…" if width > 0 else ""
