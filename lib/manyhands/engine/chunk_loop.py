"""A smaller engine for jobs so short that a record for each would cost more than the job: it handles chunks of jobs.

    inputs --pulled lazily, as many as make about 20 ms of work--> chunk --backend--> Done --in order--> returned values

It keeps no journal and no time limits. Failures are reported. If a worker dies, the jobs of its chunk are done one by one, so that
only the job that kills workers is given up. It knows the backend protocol and no backend.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, Protocol

from manyhands.backends.protocol import POISON, Backend, Ended
from manyhands.core.errors import InputError
from manyhands.core.job import Attempt, Job, Output
from manyhands.work.chunks import Done, Failed, Packed, pack

CHUNK_SECONDS: Final = 0.020
"""Seconds of work in one chunk, about: far more than a message costs, far less than a user would notice."""
_MOST_JOBS: Final = 1 << 16
_MOST_BYTES: Final = 1 << 22
_MOST_HELD: Final = 64
"""Chunks per slot that may be ahead of the first unfinished one, if results are ordered,"""
_MOST_RESULTS: Final = 1 << 19
"""and results."""


class Items(Protocol):
    """A source of inputs."""

    ended: bool
    """Whether there are no more."""

    @property
    def patience(self) -> float | None:
        """Seconds to wait before looking for more inputs; None: until the backend is woken."""

    def take(self, most: int) -> list[Any]:
        """Up to ``most`` inputs that have arrived. Raises what a program's iterator raised."""


class AtHand:
    """Inputs that are read without waiting: of a list, or of an iterator that the consumer of the results pulls."""

    patience = None

    def __init__(self, items: Iterable[Any]) -> None:
        self._items, self.ended = iter(items), False
        self._error: Exception | None = None

    def take(self, most: int) -> list[Any]:
        """See `Items.take`."""
        found: list[Any] = []
        try:
            if self._error is None:
                found.extend(islice(self._items, most))
        except Exception as error:  # any error of a program's iterator: raised after the inputs before it
            self._error = error
        if self._error and not found:
            raise self._error
        self.ended = len(found) < most and not self._error
        return found


class _Chunk:
    """Inputs that are sent together. ``first`` is the number of the first one, from 1; ``deaths``: how many workers died with it."""

    __slots__ = ("deaths", "done", "first", "items", "packed", "parts", "printed")

    def __init__(self, items: list[Any], first: int) -> None:
        self.items, self.first = items, first
        self.packed: Packed | None = None
        self.deaths = 0
        self.done: Done | None = None
        self.parts: list[_Chunk] = []
        """Its jobs, one by one, after a worker died of it."""
        self.printed: tuple[Output, Output] | None = None

    @property
    def complete(self) -> bool:
        """Whether all of it is done."""
        return all(part.done for part in self.parts) if self.parts else self.done is not None

    def whole(self) -> Done:
        """The results, whether it was done as a whole or in parts."""
        if not self.parts:
            return self.done or Done([], [])
        found = Done([], [])
        for place, part in enumerate(self.parts):
            found.results.extend(part.done.results if part.done else ())
            found.failures.extend(one._replace(place=place) for one in (part.done.failures if part.done else ()))
        return found


class Mapper:
    """Calls one function for many inputs on a backend of ``slots`` slots. Iterate `chunks` once."""

    def __init__(self, items: Items, backend: Backend, slots: int, *, chunk: int | None, ordered: bool) -> None:
        self._items, self._backend, self._slots = items, backend, slots
        self._fixed, self._ordered = chunk, ordered
        self._mean: float | None = None
        self._weight = 0.0
        """Bytes per input."""
        self._last = 1
        self._number = self._pulled = self._yielded = 0
        self._flying: dict[int, _Chunk] = {}  # by the number of its attempt's job
        self._order: deque[_Chunk] = deque()
        self._broken: Exception | None = None

    def chunks(self, printed: Callable[[Output, Output], None]) -> Iterator[tuple[int, list[Any], Done]]:
        """Yield (number of the first input, inputs, their results), and pass the jobs' output to ``printed``."""
        try:
            while True:
                self._fill()
                if not self._order and (self._broken or self._items.ended):
                    break
                for report in self._backend.reports(self._items.patience if self._wants() else None):
                    if isinstance(report, Ended):
                        self._ended(report)
                for chunk in self._ready():
                    for part in (chunk, *chunk.parts):
                        if part.printed:
                            printed(*part.printed)
                    self._yielded += len(chunk.items)
                    yield chunk.first, chunk.items, chunk.whole()
            if self._broken:  # the results before the error have been yielded
                raise self._broken
        finally:
            self._backend.close()
            for chunk in self._flying.values():
                _release(chunk)

    def _wants(self) -> bool:
        """Whether there is room for another chunk: two per slot are in flight, one being done and one being sent."""
        if self._items.ended or self._broken or len(self._flying) >= 2 * self._slots:
            return False
        chunks, results = len(self._order), self._pulled - self._yielded
        if not self._ordered or chunks < 2 * self._slots:
            return chunks < 2 * self._slots
        return chunks < _MOST_HELD * self._slots and results < _MOST_RESULTS * self._slots

    def _fill(self) -> None:
        """Make chunks of the inputs that have arrived."""
        while self._wants():
            try:
                items = self._items.take(self._size())
            except Exception as error:  # any error of a program's iterator
                self._broken = error
                return
            if not items:
                return
            chunk = _Chunk(items, self._pulled + 1)
            self._pulled += len(items)
            self._order.append(chunk)
            self._start(chunk)
            if chunk.packed:
                self._weight = chunk.packed.size / len(items)

    def _size(self) -> int:
        """How many inputs make a chunk; it grows until the right size is known."""
        if self._fixed:
            return self._fixed
        if self._mean is None:
            return 1
        wanted = min(CHUNK_SECONDS / max(self._mean, 1e-9), _MOST_BYTES / max(self._weight, 1.0))
        self._last = max(1, min(int(wanted), 8 * self._last, _MOST_JOBS))
        return self._last

    def _start(self, chunk: _Chunk) -> None:
        try:
            chunk.packed = pack(chunk.items)
        except Exception as error:  # a __reduce__ may raise anything
            if len(chunk.items) == 1:
                raise InputError(f"the input {chunk.items[0]!r:.80} cannot be pickled: {error}") from None
            self._split(chunk)
            return
        self._number += 1
        self._flying[self._number] = chunk
        self._backend.start(Attempt(Job(self._number, b"", chunk.packed.values), 1, ()))

    def _split(self, chunk: _Chunk) -> None:
        """Do its jobs one by one."""
        chunk.parts = [_Chunk([item], chunk.first + index) for index, item in enumerate(chunk.items)]
        for part in chunk.parts:
            self._start(part)

    def _ended(self, report: Ended) -> None:
        chunk = self._flying.pop(report.attempt.job.number)
        _release(chunk)
        if len(chunk.items) == 1 or report.ending.result is not None:
            chunk.printed = (report.ending.stdout, report.ending.stderr)
        if report.ending.result is not None:
            try:
                chunk.done = pickle.loads(report.ending.result)  # noqa: S301 - our own worker made it
            except Exception as error:  # unpickling a result may raise anything
                self._unreadable(chunk, error)
                return
            mean = report.ending.wall / len(chunk.items)
            self._mean = mean if self._mean is None else (self._mean + mean) / 2
            return
        if len(chunk.items) > 1:
            self._split(chunk)
            return
        chunk.deaths += 1
        if chunk.deaths < POISON:
            self._start(chunk)
        else:
            why = f"{report.ending.error or 'its worker process died'}; given up: it has killed {chunk.deaths} workers"
            chunk.done = Done([None], [Failed(0, why, report.ending.traceback)])

    def _unreadable(self, chunk: _Chunk, error: Exception) -> None:
        """A result cannot be read here: do the jobs one by one to find out which."""
        if len(chunk.items) > 1:
            self._split(chunk)
            return
        what = f"what it returned cannot be read here: {type(error).__name__}: {error}"
        chunk.done = Done([None], [Failed(0, what, None)])

    def _ready(self) -> Iterator[_Chunk]:
        """Chunks that can be yielded: all that are complete or, if ordered, those before the first incomplete one."""
        if self._ordered:
            while self._order and self._order[0].complete:
                yield self._order.popleft()
            return
        ready = [chunk for chunk in self._order if chunk.complete]
        self._order = deque(chunk for chunk in self._order if not chunk.complete)
        yield from ready


def _release(chunk: _Chunk) -> None:
    if chunk.packed and chunk.packed.file >= 0:
        os.close(chunk.packed.file)
    chunk.packed = None
