"""Which job a worker is doing, and which one a signal is meant for: memory that the coordinator shares with its workers.

    coordinator: meant = KEY, then TERM --> worker: obeyed only while doing == KEY, and looked at again before and after each job

A signal takes its time, and a worker that has many short jobs may be at the next one when it comes. Each word is written by
one side only, in a single store. In whatever order the two sides come, one of them sees the other: the worker writes what it
does before it looks at what is meant, the coordinator writes what is meant before it looks at what is done.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

from manyhands.core.job import AttemptId

_PLACE: Final = 64
"""Bytes for each worker: a cache line."""
_DOING, _MEANT = 0, 1


class Page:
    """The places of all workers of a backend, in one file without a name; ``file`` is for the workers."""

    def __init__(self, slots: int) -> None:
        size = _PLACE * (slots + 1)
        if hasattr(os, "memfd_create"):
            self.file = os.memfd_create("manyhands", os.MFD_CLOEXEC)
        else:
            self.file, path = tempfile.mkstemp()
            os.unlink(path)
        os.ftruncate(self.file, size)
        self._map = mmap.mmap(self.file, size)
        self._places: dict[int, Place] = {}

    def place(self, slot: int) -> Place:
        """The place of the worker of a slot, empty again."""
        place = self._places.get(slot) or self._places.setdefault(slot, Place(self._map, slot))
        place.clear()
        return place

    def close(self) -> None:
        """Give back the memory, with all places in it, and close the file. May be called twice."""
        if self.file >= 0:
            for place in self._places.values():
                place.release()
            self._map.close()
            os.close(self.file)
            self.file = -1


class Place:
    """One worker's: the coordinator uses `mean` and `does`, the worker the rest."""

    def __init__(self, memory: mmap.mmap, slot: int) -> None:
        with memoryview(memory) as all_of_it, all_of_it[_PLACE * slot : _PLACE * (slot + 1)] as mine:
            self._words = mine.cast("Q")
        self._obeyed = 0

    @classmethod
    def there(cls, file: int, slot: int) -> Place:
        """In the worker, of the file that it was given."""
        return cls(mmap.mmap(file, 0), slot)

    def release(self) -> None:
        """It cannot be used any more."""
        self._words.release()

    def clear(self) -> None:
        """The worker that had it is gone."""
        self._words[_DOING] = self._words[_MEANT] = 0

    def mean(self, key: AttemptId) -> None:
        """From now on a signal is meant for this job."""
        self._words[_MEANT] = _number(key)

    def does(self, key: AttemptId) -> bool:
        """Whether the worker is at this job."""
        return self._words[_DOING] == _number(key)

    def begin(self, key: AttemptId) -> bool:
        """The worker begins a job; returns whether that is to be stopped already."""
        number = self._words[_DOING] = _number(key)
        return self._is_meant(number)

    def rest(self) -> None:
        """The job is over: what is meant for it comes too late."""
        self._words[_DOING] = 0

    def meant(self, key: AttemptId) -> bool:
        """Whether a stop was meant for this job; asked when it is over, because a KILL may follow."""
        return self._is_meant(_number(key))

    def signalled(self) -> bool:
        """Whether a TERM that has come is for what is being done: not if we are meant, but for a job that has ended."""
        meant = self._words[_MEANT]
        if meant == self._obeyed:  # nothing new: somebody else has sent it, and means this process
            return True
        self._obeyed = meant
        return meant == self._words[_DOING]

    def _is_meant(self, number: int) -> bool:
        if self._words[_MEANT] != number:
            return False
        self._obeyed = number
        return True


def _number(key: AttemptId) -> int:
    """A job and its attempt as one word; never 0."""
    return key[0] << 16 | key[1] & 0xFFFF
