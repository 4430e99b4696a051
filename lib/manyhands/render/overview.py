"""Many jobs in a few lines: how long they took, and what failed in the same way. Reads each record once and keeps little of it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from heapq import nlargest, nsmallest
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Outcome, Status
from manyhands.core.records import dataclass, field
from manyhands.core.safe_text import one_line
from manyhands.render.summary import describe
from manyhands.render.words import duration
from manyhands.storage import output
from manyhands.storage.rows import JobRecord

_BAD: Final = (Status.FAILED, Status.TIMEOUT)
_FEW: Final = 5
"""Times that are read at a glance, and numbers of jobs that are named."""
_MOST: Final = 10
"""Ways to fail that are shown."""
_KINDS: Final = 1000
"""Ways to fail that are told apart."""
_WORDS: Final = 120


@dataclass(slots=True)
class _Kind:
    """Jobs that failed in the same way: how many, the first of them, and the last line that the first one wrote to stderr."""

    said: str
    number: int = 0
    jobs: list[int] = field(default_factory=list)


class Overview:
    """See the module's first lines."""

    def __init__(self) -> None:
        self._walls = array("d")
        self._slowest: list[tuple[float, int]] = []
        self._kinds: dict[str, _Kind] = {}

    def add(self, record: JobRecord) -> None:
        """Take one job into account."""
        end = record.outcome
        if end is None or end.started is None:
            return
        self._walls.append(end.wall)
        if len(self._slowest) < 3 or end.wall > self._slowest[-1][0]:
            self._slowest = nlargest(3, [*self._slowest, (end.wall, -record.job.number)])
        if end.status is Status.LOST or (end.status in _BAD and end.final):
            self._failed(record.job.number, end)

    def _failed(self, number: int, end: Outcome) -> None:
        how = "timed out" if end.status is Status.TIMEOUT else one_line(describe(end), _WORDS)
        if how not in self._kinds and len(self._kinds) >= _KINDS:
            how = "failed in other ways"
        kind = self._kinds.get(how) or self._kinds.setdefault(how, _Kind(_last_line(end)))
        kind.number += 1
        if len(kind.jobs) < _FEW:
            kind.jobs.append(number)

    def lines(self) -> Iterator[str]:
        """What there is to say of more than a few jobs, and of more than one that failed."""
        if len(self._walls) > _FEW:
            yield self._times()
        if sum(kind.number for kind in self._kinds.values()) > 1:
            yield from self._failures()

    def _times(self) -> str:
        walls = sorted(self._walls)
        half, most = (duration(walls[int(share * (len(walls) - 1))]) for share in (0.5, 0.95))
        slowest = ", ".join(f"job {-number} ({duration(wall)})" for wall, number in self._slowest)
        text = f"{duration(walls[0])} to {duration(walls[-1])}, half of them within {half}, 95% within {most}"
        return f"times    {text}; longest: {slowest}"

    def _failures(self) -> Iterator[str]:
        kinds = nsmallest(_MOST, self._kinds.items(), key=lambda item: (-item[1].number, item[1].jobs))
        wide = len(f"{kinds[0][1].number:,}")
        for place, (how, kind) in enumerate(kinds):
            label = "" if place else "failures"
            jobs = ", ".join(f"{number}" for number in kind.jobs) + ", …" * (kind.number > len(kind.jobs))
            noun = "job" if kind.number == 1 else "jobs"
            said = f": {kind.said}" if kind.said else ""
            yield f"{label:8} {kind.number:>{wide},} {how} ({noun} {jobs}){said}"
        if (more := len(self._kinds) - len(kinds)) > 0:
            yield f"{'':8} ... and {more:,} other ways"


def _last_line(end: Outcome) -> str:
    with suppress(ManyhandsError):
        if lines := output.tail(end.stderr, 1, 1 << 12):
            return one_line(lines[-1], _WORDS)
    return ""
