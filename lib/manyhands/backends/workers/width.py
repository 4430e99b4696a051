"""How many workers there can be: as many as slots, until the machine has no room for one more.

Separate from the backend, because it is policy: what is said once, what is tried again, and what ends the run.
"""

from __future__ import annotations

import time
from typing import Final

from manyhands.backends.protocol import Noted
from manyhands.core.errors import ManyhandsError

_MOST_FAILED_STARTS: Final = 3
_AGAIN: Final = 0.3
"""Seconds before the next try when there is no worker at all."""


class Width:
    """Counts starts that fail. ``there`` is always the number of workers that do their work."""

    def __init__(self, slots: int) -> None:
        self._slots = self.workers = slots
        self._failed = 0
        self._noted = False
        self.next_try = 0.0
        """A moment of the monotonic clock."""

    def began(self) -> None:
        """A worker takes jobs."""
        self._failed = 0

    def no_more(self, why: str, there: int) -> list[Noted]:
        """No further worker can be made: go on with those that are there, and say so once. Raises ManyhandsError without any."""
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
        return [Noted(f"{why}: going on with {there} of {self._slots} workers")]

    def died(self, how: str, there: int) -> list[Noted]:
        """A worker died before it took jobs; the third in a row means that there can be no more. Raises ManyhandsError without any."""
        self._failed += 1
        if self._failed < _MOST_FAILED_STARTS:
            return []
        why = f"worker processes die before they begin (the last with {how})"
        if not there:
            raise ManyhandsError(f"{why}: giving up")
        return self.no_more(why, there)
