"""Tracks a shortage (processes, descriptors, memory): what a backend reports, and when it gives up."""

from __future__ import annotations

import errno
import os
from typing import Final

from manyhands.backends.protocol import Noted

PATIENCE: Final = 20
"""Seconds without any running attempt, because of a shortage, after which attempts fail."""
_WANTING: Final = {
    errno.EAGAIN: "no more processes may be started (ulimit -u, a limit of the control group)",
    errno.EMFILE: "too few file descriptors (ulimit -n)",
    errno.ENFILE: "too few file descriptors in the whole system",
    errno.ENOMEM: "too little memory",
}


def in_words(code: int) -> str:
    """What is short, for an errno."""
    return _WANTING.get(code) or os.strerror(code)


class Shortage:
    """The shortages in a run with ``slots`` slots. Seconds are counted by calls of `look`: time in which we were suspended does not count."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._reported: set[str] = set()
        self._looks = 0

    def note(self, code: int) -> list[Noted]:
        """Note a shortage; return the message to the user, the first time."""
        why = in_words(code)
        if why in self._reported:
            return []
        self._reported.add(why)
        return [Noted(f"{why}: fewer than {self._slots} jobs at once")]

    def look(self, *, idle: bool) -> None:
        """Call this once a second; ``idle``: nothing runs, although there is work."""
        self._looks = self._looks + 1 if idle and self._reported else 0

    def begun(self) -> None:
        """An attempt has begun."""
        self._looks = 0

    @property
    def lasting(self) -> bool:
        """Whether it has lasted too long to expect that a job ends and makes room."""
        return self._looks > PATIENCE
