"""Making other programs' bytes harmless for a terminal: what could move the cursor, change colours or hide text is shown.

Everything that is shown to people and comes from a job, a name or a file goes through here; what goes to files and pipes
does not.
"""

from __future__ import annotations

import codecs
import re

# C0 without newline and TAB, DEL, C1; the controls that reorder or hide text (Unicode TR 36, "Trojan Source"); lone
# surrogates, which stand for bytes that are not UTF-8.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def harmless(text: str | bytes) -> str:
    """``text`` with every control character and stray byte made visible (``^[``, ``\\x9b``, ``\\u202e``)."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return _HARMFUL.sub(_shown, text.replace("\r\n", "\n"))


def one_line(text: str | bytes, width: int) -> str:
    """``text`` harmless, on one line of at most ``width`` characters, cut with an ellipsis."""
    shown = harmless(text).replace("\n", "␤").replace("\t", " ")
    return shown if len(shown) <= width else shown[: max(0, width - 1)] + "…"


class Harmless:
    """`harmless` for a stream that comes in pieces: no character is torn where two of them meet."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """The next piece."""
        return harmless(self._decoder.decode(data, final))
