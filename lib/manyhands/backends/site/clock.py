"""When something happened on another machine, by our own monotonic clock.

Its clock is compared with ours by the answer to a ping, which was given between the sending and the return; of all answers
that with the shortest way is the most exact (RFC 5905 does the same). Wall clocks, which may be a day off, do not count.
"""

from __future__ import annotations

import math


class FarClock:
    """The difference of two monotonic clocks, better known with every answer."""

    def __init__(self) -> None:
        self._ahead, self._way = 0.0, math.inf

    def greeted(self, received: float, at: float) -> None:
        """A first guess, before any answer: it was said just now."""
        if math.isinf(self._way):
            self._ahead = at - received

    def answered(self, sent: float, received: float, at: float) -> None:
        """Its clock said ``at`` between these two moments of ours."""
        if received - sent <= self._way:
            self._way, self._ahead = received - sent, at - (sent + received) / 2

    def here(self, at: float) -> float:
        """The latest moment of our clock that it can have been: a time-out that counts from a beginning is then never over too early."""
        return at - self._ahead + (0.0 if math.isinf(self._way) else self._way / 2)
