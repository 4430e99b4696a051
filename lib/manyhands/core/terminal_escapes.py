"""Control characters and sequences of terminals in text (ECMA-48, 8.3; xterm's OSC): which are harmful, which set colours, and
text without any.

Separate from `manyhands.core.safe_text`, because prompts and lines are also searched in the text as people see it.
"""

from __future__ import annotations

from typing import Final

from manyhands.core.patterns import pattern

# C0 without newline and TAB, DEL, C1 (ECMA-48); controls that reorder or hide text (UTS 39, and "Trojan Source",
# CVE-2021-42574), but not the joiners U+200C and U+200D, which Persian, Indic scripts and emoji are spelt with; tag
# characters; surrogates, which stand for bytes that are not UTF-8.
HARMFUL: Final = pattern(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
COLOUR: Final = pattern(r"\x1b\[[0-9;:]*m")
"""SGR: colours, bold and the like, the only sequences that move nothing and hide nothing permanently."""
RESET: Final = "\x1b[0m"
_ANY: Final = pattern(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-B]|\x1b[=>78cM]")
_TORN: Final = pattern(r"\x1b(?:\[[0-?]{0,64}[ -/]?|\][^\x07\x1b]{0,256}\x1b?|[()])?\Z")


def plain(text: str) -> str:
    """``text`` as a terminal shows it: without control sequences."""
    return _ANY.sub("", text) if "\x1b" in text else text


def torn(text: str) -> int:
    """The start of an incomplete control sequence at the end of ``text``; the length of ``text`` if there is none."""
    found = _TORN.search(text, max(0, len(text) - 512)) if "\x1b" in text else None
    return found.start() if found else len(text)
