"""The slots of a launcher: free, resting while something is short (processes, descriptors, memory), or held back by a width."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Final

from manyhands.backends.shared.slot import Slot

_RESTING: Final = (0.05, 1.0)
"""Seconds until a slot that could not be used is tried again: at first, at most."""


class Slots:
    """Free slots are taken from the end of ``free``. One that rests comes back now and then, more slowly each time in vain."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self.free = [*slots]
        self.resting: list[Slot] = []
        self.held: list[Slot] = []
        self._number, self._to_hold = len(self.free), 0
        self._pause, self._until = _RESTING[0], 0.0

    def limit(self, most: int) -> None:
        """Use ``most`` of them from now on; those in which something runs are held when that ends."""
        self._to_hold = max(0, self._number - most)
        while self.free and len(self.held) < self._to_hold:
            self.held.append(self.free.pop())
        while len(self.held) > self._to_hold:
            self.free.append(self.held.pop())

    def put(self, slot: Slot) -> None:
        """Nothing runs there any more."""
        (self.free if len(self.held) >= self._to_hold else self.held).append(slot)

    def __iter__(self) -> Iterator[Slot]:
        """All in which nothing runs."""
        return iter([*self.free, *self.resting, *self.held])

    def rest(self) -> None:
        """None can be used now: let all that are free rest, and give back what they hold. Others become free as jobs end."""
        for slot in self.free:
            slot.close()
        self.resting += self.free
        self.free.clear()
        self._until, self._pause = time.monotonic() + self._pause, min(2 * self._pause, _RESTING[1])

    def used(self) -> None:
        """A slot could be used."""
        self._pause = _RESTING[0]

    def due(self) -> float | None:
        """The moment to `wake` one; None while none rests."""
        return self._until if self.resting else None

    def wake(self, now: float) -> None:
        """Let one be tried again if it is time."""
        if self.resting and self._until <= now:
            self.put(self.resting.pop())
            self._until = now + self._pause
