"""A set of job numbers that takes one bit per number: behind one slow job, a million results may have to wait for their turn.

Separate, because both the ordering of results and the display need to know what is held back.
"""

from __future__ import annotations

from collections.abc import Iterable


class Numbers:
    """A set of job numbers, counted from 1; its memory depends on the largest number."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        for number in numbers:
            self.add(number)

    def add(self, number: int) -> None:
        """Add a number."""
        at = number >> 3
        if at >= len(self._bits):
            self._bits.extend(bytes(at + 1024 - len(self._bits)))
        self._bits[at] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        at = number >> 3
        return at < len(self._bits) and bool(self._bits[at] & 1 << (number & 7))

    def discard(self, number: int) -> bool:
        """Remove a number; return whether it was there."""
        at, bit = number >> 3, 1 << (number & 7)
        if at >= len(self._bits) or not self._bits[at] & bit:
            return False
        self._bits[at] ^= bit
        return True
