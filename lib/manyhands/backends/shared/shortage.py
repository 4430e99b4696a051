"""Of what there is too little, and for how long nothing has run because of it: what a backend says, and when it gives up."""

from __future__ import annotations

import errno
import os
from typing import Final

from manyhands.backends.protocol import Noted

PATIENCE: Final = 20
"""Seconds in which nothing runs, and nothing can begin for want of something, until attempts fail for it."""
_WANTING: Final = {
    errno.EAGAIN: "no more processes may be started (ulimit -u, a limit of the control group)",
    errno.EMFILE: "too few file descriptors (ulimit -n)", errno.ENFILE: "too few file descriptors in the whole system",
    errno.ENOMEM: "too little memory",
}  # fmt: skip


def in_words(code: int) -> str:
    """What is short, by the errno that says so."""
    return _WANTING.get(code) or os.strerror(code)


class Shortage:
    """What was short in a run of so many ``slots``. Seconds are counted by looks, so that one who was suspended loses none."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._told: set[str] = set()
        self._looks = 0

    def note(self, code: int) -> list[Noted]:
        """Something is short: what the user is told of it, the first time."""
        why = in_words(code)
        if why in self._told:
            return []
        self._told.add(why)
        return [Noted(f"{why}: fewer than {self._slots} jobs at once")]

    def look(self, *, idle: bool) -> None:
        """Once a second; ``idle``: nothing runs, although there is work."""
        self._looks = self._looks + 1 if idle and self._told else 0

    def begun(self) -> None:
        """An attempt has begun."""
        self._looks = 0

    @property
    def lasting(self) -> bool:
        """Whether there is no hope that something ends and makes room."""
        return self._looks > PATIENCE
