"""How many attempts travel to a consumer as one: several if they are short, because a message costs as much as a short job."""

from __future__ import annotations

import math
from typing import Final

_WORTH: Final = 0.005
"""Seconds of work that a consumer gets at once at most: others may have nothing to do meanwhile."""
_SHARES: Final = 2
"""Parcels for each consumer, at least, of what is sent at once."""
_LASTING: Final = 0.9
"""The part of what was known before that the next attempt leaves."""
_FIRST: Final = 64
"""Attempts that are on their way at most before it is known how long they take,"""
_FOR_EACH: Final = 8
"""and for each consumer at least."""
_PROBE: Final = 0.05
"""Seconds after which the first one that has begun is not short: then all are sent."""
_LONGEST: Final = 0.5
"""Seconds after which all are sent in any case: perhaps nobody is there."""


class ParcelSizes:
    """See the module's first line. What the attempts take is measured: at first they travel one by one. ``most``: in a parcel."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._usual = 0.0
        """Seconds that an attempt takes, about."""
        self._seen = 0
        """Attempts that were measured. No more travel as one: nobody knows whether the next ones are like these."""
        self._probed: float | None = None
        self.held_until = math.inf
        """Until when some that wait are not sent, because it is not known yet how many may travel as one; infinite if none is held."""

    def took(self, wall: float, count: int = 1) -> None:
        """Note how long ``count`` attempts took on average, in seconds."""
        lasting = _LASTING**count if self._seen else 0.0
        self._usual = lasting * self._usual + (1 - lasting) * wall
        self._seen += count

    def began(self, now: float) -> None:
        """Note that an attempt has begun by the moment ``now``."""
        if not self._seen:
            self._probed = min(now + _PROBE, math.inf if self._probed is None else self._probed)

    def room(self, room: int, waiting: int, sent: int, consumers: int, now: float) -> int:
        """How many of those that wait are sent at the moment ``now``, if there is ``room`` for so many, and ``sent`` are on their way."""
        self.held_until = math.inf
        if self._seen >= self._most or self._usual > _WORTH / 2 or self._most == 1:
            return room
        first = max(0, max(_FIRST, _FOR_EACH * consumers) - sent)
        if first >= min(room, waiting):
            return room
        if self._probed is None:
            self._probed = now + _LONGEST
        if now >= self._probed:
            return room
        self.held_until = self._probed
        return first

    def together(self, count: int, consumers: int) -> int:
        """How many of ``count`` attempts may travel as one."""
        share = count // (_SHARES * max(1, consumers))
        return max(1, min(self._most, self._seen, share, int(_WORTH / max(self._usual, 1e-6))))
