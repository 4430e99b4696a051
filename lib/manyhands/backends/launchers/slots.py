"""The slots of a launcher: free, resting during a shortage (processes, descriptors, memory), or held back by a lower width."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from manyhands.backends.shared.slot import Slot
from manyhands.core.lean import Final

_RESTING: Final = (0.05, 1.0)
"""Seconds until a resting slot is tried again: at first, at most."""


class Slots:
    """Free slots are taken from the end of ``free``. Resting slots are tried again one by one, more slowly after each failure."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self.free = [*slots]
        self.resting: list[Slot] = []
        self.held: list[Slot] = []
        self._number, self._to_hold = len(self.free), 0
        self._pause, self._until = _RESTING[0], 0.0

    def limit(self, most: int) -> None:
        """Use at most ``most`` slots from now on; surplus busy slots are held back when their attempts end."""
        self._to_hold = max(0, self._number - most)
        while self.free and len(self.held) < self._to_hold:
            self.held.append(self.free.pop())
        while len(self.held) > self._to_hold:
            self.free.append(self.held.pop())

    def put(self, slot: Slot) -> None:
        """Return a slot in which nothing runs any more."""
        (self.free if len(self.held) >= self._to_hold else self.held).append(slot)

    def __iter__(self) -> Iterator[Slot]:
        """All slots in which nothing runs."""
        return iter([*self.free, *self.resting, *self.held])

    def rest(self) -> None:
        """No slot can be used now: let all free ones rest, and close their files. Others become free as jobs end."""
        for slot in self.free:
            slot.close()
        self.resting += self.free
        self.free.clear()
        self._until, self._pause = time.monotonic() + self._pause, min(2 * self._pause, _RESTING[1])

    def used(self) -> None:
        """Note that a slot could be used."""
        self._pause = _RESTING[0]

    def due(self) -> float | None:
        """When to call `wake`; None while no slot rests."""
        return self._until if self.resting else None

    def wake(self, now: float) -> None:
        """Let one slot be tried again, if it is time."""
        if self.resting and self._until <= now:
            self.put(self.resting.pop())
            self._until = now + self._pause
