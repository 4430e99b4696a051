"""Two runs side by side: each job of the later one beside the job of the earlier one with the same input.

Inputs that come several times are matched in their order. Of the earlier run some 200 bytes a job are held, of the later one nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from manyhands.core.job import Status, Values
from manyhands.core.lean import NamedTuple
from manyhands.render.summary import describe
from manyhands.storage.rows import JobRecord
from manyhands.storage.stage_journals import Journals

RATIO: Final = 1.2
LEAST: Final = 0.05
"""A job has become slower, or faster, if it is so by this ratio and by so many seconds."""
_WELL: Final = frozenset({Status.OK, Status.SKIPPED})


class Kind(StrEnum):
    """What differs, in the order in which it is told."""

    FAILED = "failed anew"
    MENDED = "mended"
    OTHERWISE = "fails otherwise"
    SLOWER = "slower"
    FASTER = "faster"
    UNDONE = "not done"
    """Done in the earlier run only, and begun in the later one."""
    ONLY_BEFORE = "only before"
    ONLY_AFTER = "only after"


class Side(NamedTuple):
    """A job in one of the runs. ``status``: None while it is not done; ``seconds``: of its last attempt, with several stages of the last one."""

    job: int
    status: Status | None
    how: str
    seconds: float


class Difference(NamedTuple):
    """A job that differs; at least one side is there."""

    kind: Kind
    values: Values
    """Its input."""
    before: Side | None
    after: Side | None


class Comparison:
    """Iterate `differences` once; then the sums are there."""

    def __init__(self, before: Journals, after: Journals) -> None:
        self._before, self._after = before, after
        self.counts: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self.both = 0
        """Jobs that are in both runs."""
        self.still = 0
        """Of these, those that failed in both in the same way."""
        self.seconds = 0.0, 0.0
        """Of the jobs that are ok in both, all together, before and after."""

    def differences(self) -> Iterator[Difference]:
        """What differs, by the numbers of the later run, then what is only in the earlier one."""
        known = {}
        for key, record in _keyed(self._before):
            known[key] = _side(record)
        for key, record in _keyed(self._after):
            before, after = known.pop(key, None), _side(record)
            if before is not None:
                self.both += 1
            if (kind := self._kind(before, after)) is not None:
                yield self._counted(Difference(kind, record.job.values, before, after))
        left = {side.job: side for side in known.values()}
        if left:
            for record in self._before.records():
                if side := left.get(record.job.number):
                    yield self._counted(Difference(Kind.ONLY_BEFORE, record.job.values, side, None))

    def _counted(self, found: Difference) -> Difference:
        self.counts[found.kind] += 1
        return found

    def _kind(self, before: Side | None, after: Side) -> Kind | None:
        if before is None:
            return Kind.ONLY_AFTER
        was, is_now = _well(before), _well(after)
        if was is None or is_now is None:
            return None if was is None else Kind.UNDONE
        if was != is_now:
            return Kind.MENDED if is_now else Kind.FAILED
        if not is_now:
            same = before.how == after.how
            self.still += same
            return None if same else Kind.OTHERWISE
        self.seconds = self.seconds[0] + before.seconds, self.seconds[1] + after.seconds
        return _speed(before.seconds, after.seconds)


def _speed(before: float, after: float) -> Kind | None:
    if abs(after - before) <= LEAST or max(before, after) <= RATIO * min(before, after):
        return None
    return Kind.SLOWER if after > before else Kind.FASTER


def _well(side: Side) -> bool | None:
    """None: it is not done, so nothing can be said."""
    return None if side.status is None else side.status in _WELL


def _side(record: JobRecord) -> Side:
    end = record.outcome
    if end is None or record.left:
        return Side(record.job.number, None, "is not done", 0.0)
    how = "timed out" if end.status is Status.TIMEOUT else describe(end)
    return Side(record.job.number, end.status, how, end.wall)


def _keyed(journals: Journals) -> Iterator[tuple[tuple[bytes, int], JobRecord]]:
    """Each job, known by its input, and how often this input came before."""
    seen: dict[bytes, int] = {}
    for record in journals.records():
        digest = _digest(record.job.values)
        seen[digest] = seen.get(digest, 0) + 1
        yield (digest, seen[digest]), record


def _digest(values: Values) -> bytes:
    found = blake2b(digest_size=12)
    for value in values:
        found.update(len(value).to_bytes(8, "little"))
        found.update(value)
    return found.digest()
