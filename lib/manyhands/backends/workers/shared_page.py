"""Memory that the coordinator shares with its workers: which job each is doing, which job it has to stop, and what it has noted.

    coordinator: stop = KEY, then TERM --> worker: obeys only while doing == KEY, and checks stop again before and after each job
    worker: doing = KEY, ... note of its end, doing = the next KEY --> coordinator: also after the worker has died

A signal takes time to arrive, and a worker with many short jobs may be at the next one by then. Each word is written by one side
only, in a single store. Whichever side is first, one sees the other's word: the worker writes what it does before it reads what to
stop, and the coordinator writes what to stop before it reads what is done. A worker's notes (`manyhands.backends.workers.notes`)
lie in a ring behind the words. They outlive it, so a job that has ended is not done again because its worker died at the next one.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

from manyhands.backends.workers.notes import RING, NoteReader, NoteWriter
from manyhands.core.job import AttemptId

_ENTRY: Final = 64
"""Bytes for each worker: a cache line."""
_DOING, _STOP, _DROPS, _HEAD, _TAIL = range(5)
_OVER: Final = 1 << 63
"""Added to the job in `_DOING` when its call is over: its end is being noted."""


class Page:
    """The entries of all workers of a backend, in one file without a name; workers get the descriptor ``file``."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        if hasattr(os, "memfd_create"):
            self.file = os.memfd_create("manyhands", os.MFD_CLOEXEC)
        else:
            self.file, path = tempfile.mkstemp()
            os.unlink(path)
        os.ftruncate(self.file, _ENTRY * (slots + 1) + RING * slots)  # memory is only used for what is written
        self._map = mmap.mmap(self.file, 0)
        self._entries: dict[int, Entry] = {}

    def entry(self, slot: int) -> Entry:
        """The entry of the worker of a slot, cleared."""
        entry = self._entries.get(slot) or self._entries.setdefault(slot, Entry(self._map, slot, self._slots))
        entry.clear()
        return entry

    def close(self) -> None:
        """Release the memory with all entries, and close the file. May be called twice."""
        if self.file >= 0:
            for entry in self._entries.values():
                entry.release()
            self._map.close()
            os.close(self.file)
            self.file = -1


class Entry:
    """The entry of one worker: the coordinator uses `request_stop`, `request_drop`, `is_doing`, `has_begun` and `reader`, the worker
    the other methods."""

    def __init__(self, memory: mmap.mmap, slot: int, slots: int) -> None:
        ring = _ENTRY * (slots + 1) + RING * (slot - 1)
        with memoryview(memory) as all_of_it, all_of_it[_ENTRY * slot : _ENTRY * (slot + 1)] as mine:
            self._words = mine.cast("Q")
            self._ring = all_of_it[ring : ring + RING]
        self._doing = self._obeyed = self._drops = 0

    @classmethod
    def there(cls, file: int, slot: int) -> Entry:
        """The entry in the worker's process, in the file that the worker was given."""
        memory = mmap.mmap(file, 0)
        return cls(memory, slot, (len(memory) - _ENTRY) // (_ENTRY + RING))

    def release(self) -> None:
        """Release the memory; the entry cannot be used afterwards."""
        self._words.release()
        self._ring.release()

    def clear(self) -> None:
        """Clear the entry, because its worker is gone."""
        for word in range(len(self._words)):
            self._words[word] = 0

    def reader(self) -> NoteReader:
        """Reads the notes of a worker that has not begun yet."""
        return NoteReader(self._ring, self._words, _HEAD, _TAIL)

    def writer(self) -> NoteWriter:
        """Writes the worker's notes."""
        return NoteWriter(self._ring, self._words, _HEAD, _TAIL)

    def request_stop(self, key: AttemptId) -> None:
        """Request that this job stops; send the signal after that."""
        self._words[_STOP] = _number(key)

    def request_drop(self) -> None:
        """Request that what has not begun is returned; send the message after that."""
        self._words[_DROPS] += 1

    def is_doing(self, key: AttemptId) -> bool:
        """Whether the worker is doing this job."""
        return self._words[_DOING] == _number(key)

    def has_begun(self, key: AttemptId) -> bool:
        """Whether this job is the last that the worker has begun."""
        return self._words[_DOING] & ~_OVER == _number(key)

    def begin(self, key: AttemptId) -> bool:
        """Note that the worker begins a job; return whether it has to stop it already."""
        number = self._doing = self._words[_DOING] = key[0] << 16 | key[1] & 0xFFFF
        return self._words[_STOP] == number and self._must_stop(number)

    def rest(self) -> None:
        """Note that the job is over: a request to stop it comes too late."""
        self._words[_DOING] = self._doing | _OVER

    def stop_requested(self) -> bool:
        """Whether a stop of this job was requested; checked when it is over, because a KILL may follow."""
        return self._words[_STOP] == self._doing and self._must_stop(self._doing)

    def signalled(self) -> bool:
        """Whether a TERM that has arrived applies now: not if it was for a job that has already ended."""
        requested = self._words[_STOP]
        if requested == self._obeyed:  # no new request: another program has sent it to this process
            return True
        self._obeyed = requested
        return requested == self._words[_DOING]

    def drop_requested(self) -> bool:
        """Whether a message that requests to drop jobs has arrived or is about to; call `dropped` when it has been read."""
        return self._words[_DROPS] != self._drops

    def dropped(self) -> None:
        """A message that requests to drop jobs has been read."""
        self._drops += 1

    def _must_stop(self, number: int) -> bool:
        if self._words[_STOP] != number:
            return False
        self._obeyed = number
        return True


def _number(key: AttemptId) -> int:
    """A job and its attempt as one word; never 0."""
    return key[0] << 16 | key[1] & 0xFFFF
