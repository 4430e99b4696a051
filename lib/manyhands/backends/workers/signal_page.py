"""Which job a worker is doing, and which job it has to stop: memory that the coordinator shares with its workers.

    coordinator: stop = KEY, then TERM --> worker: obeys only while doing == KEY, and checks stop again before and after each job

A signal takes time to arrive, and a worker with many short jobs may be at the next one by then. Each word is written by one side
only, in a single store. Whichever side is first, one sees the other's word: the worker writes what it does before it reads what to
stop, and the coordinator writes what to stop before it reads what is done.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

from manyhands.core.job import AttemptId

_ENTRY: Final = 64
"""Bytes for each worker: a cache line."""
_DOING, _STOP = 0, 1


class Page:
    """The entries of all workers of a backend, in one file without a name; workers get the descriptor ``file``."""

    def __init__(self, slots: int) -> None:
        size = _ENTRY * (slots + 1)
        if hasattr(os, "memfd_create"):
            self.file = os.memfd_create("manyhands", os.MFD_CLOEXEC)
        else:
            self.file, path = tempfile.mkstemp()
            os.unlink(path)
        os.ftruncate(self.file, size)
        self._map = mmap.mmap(self.file, size)
        self._entries: dict[int, Entry] = {}

    def entry(self, slot: int) -> Entry:
        """The entry of the worker of a slot, cleared."""
        entry = self._entries.get(slot) or self._entries.setdefault(slot, Entry(self._map, slot))
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
    """The entry of one worker: the coordinator uses `request_stop` and `is_doing`, the worker the other methods."""

    def __init__(self, memory: mmap.mmap, slot: int) -> None:
        with memoryview(memory) as all_of_it, all_of_it[_ENTRY * slot : _ENTRY * (slot + 1)] as mine:
            self._words = mine.cast("Q")
        self._obeyed = 0

    @classmethod
    def there(cls, file: int, slot: int) -> Entry:
        """The entry in the worker's process, in the file that the worker was given."""
        return cls(mmap.mmap(file, 0), slot)

    def release(self) -> None:
        """Release the memory; the entry cannot be used afterwards."""
        self._words.release()

    def clear(self) -> None:
        """Clear the entry, because its worker is gone."""
        self._words[_DOING] = self._words[_STOP] = 0

    def request_stop(self, key: AttemptId) -> None:
        """Request that this job stops; send the signal after that."""
        self._words[_STOP] = _number(key)

    def is_doing(self, key: AttemptId) -> bool:
        """Whether the worker is doing this job."""
        return self._words[_DOING] == _number(key)

    def begin(self, key: AttemptId) -> bool:
        """Note that the worker begins a job; return whether it has to stop it already."""
        number = self._words[_DOING] = _number(key)
        return self._must_stop(number)

    def rest(self) -> None:
        """Note that the job is over: a request to stop it comes too late."""
        self._words[_DOING] = 0

    def stop_requested(self, key: AttemptId) -> bool:
        """Whether a stop of this job was requested; checked when it is over, because a KILL may follow."""
        return self._must_stop(_number(key))

    def signalled(self) -> bool:
        """Whether a TERM that has arrived applies now: not if it was for a job that has already ended."""
        requested = self._words[_STOP]
        if requested == self._obeyed:  # no new request: another program has sent it to this process
            return True
        self._obeyed = requested
        return requested == self._words[_DOING]

    def _must_stop(self, number: int) -> bool:
        if self._words[_STOP] != number:
            return False
        self._obeyed = number
        return True


def _number(key: AttemptId) -> int:
    """A job and its attempt as one word; never 0."""
    return key[0] << 16 | key[1] & 0xFFFF
