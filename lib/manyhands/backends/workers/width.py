"""How many workers there can be: as many as slots, or as many as the machine can start.

Separate from the backend, because it is policy: what is reported once, what is tried again, and what ends the run.
"""

from __future__ import annotations

import time
from typing import Final

from manyhands.backends.protocol import Noted
from manyhands.core.errors import ManyhandsError

_MOST_FAILED_STARTS: Final = 3
_AGAIN: Final = 0.3
"""Seconds before the next try to start a worker."""


class Width:
    """Counts starts that fail. In all methods ``there`` is the number of working workers."""

    def __init__(self, slots: int) -> None:
        self._slots = self.workers = slots
        self._failed = 0
        self._noted = False
        self.next_try = 0.0
        """A moment of the monotonic clock."""

    def grow(self, slots: int) -> None:
        """There are more slots now."""
        self._slots = self.workers = slots

    def began(self) -> None:
        """Note that a worker takes jobs."""
        self._failed = 0

    def no_more(self, why: str, there: int) -> list[Noted]:
        """No further worker can be started: continue with those there are, and report it once. Raises ManyhandsError if there are none."""
        self.next_try = time.monotonic() + _AGAIN
        if not there:
            self._failed += 1
            if self._failed >= _MOST_FAILED_STARTS:
                raise ManyhandsError(why)
            return []
        self.workers = there
        if self._noted:
            return []
        self._noted = True
        return [Noted(f"{why}: continuing with {there} of {self._slots} workers")]

    def died(self, how: str, there: int) -> list[Noted]:
        """A worker died before it took jobs; after three in a row no more are started. Raises ManyhandsError if there are no others."""
        self._failed += 1
        if self._failed < _MOST_FAILED_STARTS:
            return []
        why = f"worker processes die before they begin (the last with {how})"
        if not there:
            raise ManyhandsError(f"{why}: giving up")
        return self.no_more(why, there)
