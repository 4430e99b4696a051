"""A worker's notes for the coordinator, in memory that both share: what became of each job, without a system call for each.

    worker: put --> ring, head moves          coordinator: take(until) --> tail moves

Positions only grow; the place of one is its rest by the size of the ring. A note lies in one piece: if it does not fit before the end of
the ring, a length of zero says that it lies at its beginning. The worker writes a note before it moves the head, and the coordinator
looks later than that: when it is told over the socket, when the worker is dead, or some milliseconds after the head was moved.
"""

from __future__ import annotations

from marshal import dumps, loads
from struct import Struct
from typing import Any, Final

RING: Final = 1 << 18
"""Bytes for the notes of one worker: those of some 2,000 short jobs."""
LARGEST: Final = 1 << 14
"""Bytes of a note that is put here; larger ones are sent over the socket."""
_MASK: Final = RING - 1
_LENGTH: Final = Struct("<I")
_HEAD: Final = _LENGTH.size
_NOTHING: Final = bytes(_HEAD)


class NoteWriter:
    """The worker's side. ``words[head]`` is written here, ``words[tail]`` by the coordinator."""

    def __init__(self, ring: memoryview, words: memoryview, head: int, tail: int) -> None:
        self._ring, self._words, self._head, self._tail = ring, words, head, tail
        self.position = 0
        """Where the next note will be; all before it have been written."""

    def put(self, note: Any) -> bool:
        """Add a note; False if there is no room for it now, or if it is too large."""
        data = dumps(note, 2)
        size = len(data) + _HEAD
        at = self.position
        place, end = at & _MASK, at + (size + 3 & ~3)
        if place + size > RING:
            at, end, place = at + RING - place, end + RING - place, 0
        if size > LARGEST or end - self._words[self._tail] > RING:
            return False
        if at != self.position:
            self._ring[self.position & _MASK : (self.position & _MASK) + _HEAD] = _NOTHING
        self._ring[place : place + size] = _LENGTH.pack(len(data)) + data
        self.position = self._words[self._head] = end
        return True


class NoteReader:
    """The coordinator's side."""

    def __init__(self, ring: memoryview, words: memoryview, head: int, tail: int) -> None:
        self._ring, self._words, self._head, self._tail = ring, words, head, tail
        self._position = 0

    @property
    def head(self) -> int:
        """Where the last note ends that the worker has written so far."""
        return self._words[self._head]

    def take(self, until: int) -> list[Any]:
        """The notes before the position ``until`` that were not taken yet."""
        found: list[Any] = []
        ring, at = self._ring, self._position
        while at < until:
            place = at & _MASK
            (size,) = _LENGTH.unpack_from(ring, place)
            if not size:
                at += RING - place
                continue
            place += _HEAD
            found.append(loads(ring[place : place + size]))
            at += size + _HEAD + 3 & ~3
        if found:
            self._position = self._words[self._tail] = at
        return found
