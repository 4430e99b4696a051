"""All inputs of a run are divided among N machines, and one part is taken: by turns, or, if it is known how long jobs took, so that all
parts take about as long.

    source --jobs--> walls --parts_of--> part of each job --> Share: the inputs of one part, with the numbers of its jobs

What a part is follows from the inputs and the recorded times alone. Longest first, each to the part that has least so far: no part
takes more than 4/3 of what the longest would take in the best possible division (R. L. Graham, Bounds on Multiprocessing Timing Anomalies,
1969). By turns, because neighbours in a list are often alike: the large files of one folder, the slow tests of one module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heapreplace
from itertools import chain
from typing import Any, Final, NamedTuple

from manyhands.core.hashes import blake2b
from manyhands.core.job import Values
from manyhands.inputs.grouping import in_groups
from manyhands.inputs.program_inputs import AtHand, Given
from manyhands.inputs.recorded_times import RecordedTimes
from manyhands.inputs.sources import Source
from manyhands.inputs.value_file import Placed

_DIGEST: Final = 16


class Share(AtHand):
    """The inputs of one part; ``items``: the objects that they were made of, if a program gave them."""

    def __init__(self, rows: Sequence[Values], columns: Sequence[str], items: Sequence[Any] | None) -> None:
        super().__init__(rows, columns, tuple)
        self._live = items is not None
        if items is not None:
            self.items = items

    def __iter__(self) -> Iterator[Values]:
        return super().__iter__() if self._live else self._plain()

    def _plain(self) -> Iterator[Values]:
        for number, values in enumerate(self.rows, 1):
            if place := self.places.get(number):
                placed = Placed(values)
                placed.place = place
                yield placed
            else:
                yield values


class Divided(NamedTuple):
    """One part of a run. ``numbers`` are those of its jobs, from 1; ``total``: jobs of all parts; ``inputs``: the digest of all inputs."""

    share: Share
    numbers: Sequence[int]
    total: int
    inputs: str


def divide(
    source: Source, index: int, count: int, *, group: int | None = None, times: RecordedTimes | None = None
) -> Divided:
    """Read all inputs, and take part ``index`` of ``count``; ``group``: inputs in a job, if several. Raises InputError."""
    hasher = blake2b(digest_size=_DIGEST)
    read = _hashed(source, hasher.update)
    jobs: Iterable[Values | None] = read if group is None else in_groups(read, group)
    numbered = enumerate((values for values in jobs if values is not None), 1)
    total = 0
    taken: list[tuple[int, Values]] = []
    if times is None:
        for total, values in numbered:
            if total % count == index % count:
                taken.append((total, values))
    else:
        every = list(numbered)
        total = len(every)
        part = parts_of(times.walls(values for _, values in every), count)
        taken = [one for one, mine in zip(every, part, strict=True) if mine == index - 1]
    hasher.update(repr((tuple(source.columns), group)).encode("utf-8", "surrogateescape"))
    return Divided(_share(taken, source.columns, group), [number for number, _ in taken], total, hasher.hexdigest())


def parts_of(walls: Sequence[float], count: int) -> list[int]:
    """The part, from 0, of each job that takes so many seconds: the longest first, each to the part that has least; of equal ones
    the first."""
    heap = [(0.0, part) for part in range(count)]
    heapify(heap)
    found = [0] * len(walls)
    for place in sorted(range(len(walls)), key=lambda at: (-walls[at], at)):
        load, part = heap[0]
        found[place] = part
        heapreplace(heap, (load + walls[place], part))
    return found


def _hashed(source: Iterable[Values], update: Callable[[bytes], object]) -> Iterator[Values]:
    for values in source:
        update(b"%d;" % len(values))
        for value in values:
            update(b"%d:" % len(value))
            update(value)
        yield values


def _share(taken: Sequence[tuple[int, Values]], columns: Sequence[str], group: int | None) -> Share:
    items: list[Any] | None = None
    if taken and all(isinstance(values, Given) for _, values in taken):
        items = [values.item for _, values in taken if isinstance(values, Given)]
    rows = [tuple(values) for _, values in taken]
    if group is not None:  # they are put together again as they were, because only the last group is smaller
        rows = [(value,) for value in chain.from_iterable(rows)]
        items = None if items is None else [*chain.from_iterable(items)]
    return Share(rows, columns, items)
