"""Control sequences of terminals in text (ECMA-48, 8.3; xterm's OSC): which set colours, and text without any.

Separate from what is shown (`manyhands.render.safe`), because a prompt or a line is searched as people see it, too.
"""

from __future__ import annotations

import re
from typing import Final

COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")
"""SGR: colours, bold and the like, the only sequences that move nothing and hide nothing for good."""
RESET: Final = "\x1b[0m"
_ANY: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-B]|\x1b[=>78cM]")
_TORN: Final = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]?|\][^\x07\x1b]{0,256}\x1b?|[()])?\Z")


def plain(text: str) -> str:
    """``text`` as a terminal shows it: without control sequences."""
    return _ANY.sub("", text) if "\x1b" in text else text


def torn(text: str) -> int:
    """Where a control sequence begins that is not complete at the end of ``text``; its length if there is none."""
    found = _TORN.search(text, max(0, len(text) - 512)) if "\x1b" in text else None
    return found.start() if found else len(text)
