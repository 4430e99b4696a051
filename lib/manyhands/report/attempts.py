"""What was measured of every attempt of a run, in columns: some 50 bytes an attempt, so that a million fit into memory.

journals --histories--> Attempts --> `manyhands.report.bins`, `manyhands.report.lanes` --> pictures
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Final

from manyhands.core.job import Outcome, Status
from manyhands.core.lean import NamedTuple
from manyhands.storage.rows import JobRecord

STATES: Final = (*(status.value for status in Status), "running", "left")
"""How a job can stand, in the order in which they are counted; columns hold the place in this list."""
OK: Final = STATES.index("ok")
RUNNING: Final = STATES.index("running")
LEFT: Final = STATES.index("left")
BAD: Final = frozenset(map(STATES.index, ("failed", "timeout", "lost")))


class Lane(NamedTuple):
    """Where an attempt was made: one place on one host, of one stage. ``host``: None for this machine."""

    host: str | None
    stage: int
    slot: int

    @property
    def order(self) -> tuple[str, int, int]:
        """By which lanes are sorted."""
        return self.host or "", self.stage, self.slot


class Bar(NamedTuple):
    """One attempt, in seconds from `Attempts.first`."""

    begin: float
    end: float
    state: int
    number: int
    lane: int


Running = Callable[[int], tuple[float, int, str | None] | None]
"""(since, slot, host) of a job that runs."""


class Attempts:
    """All attempts that have begun, in the order of their jobs. ``at``: until when those that run are drawn."""

    def __init__(self, at: float, running: Running) -> None:
        self._at, self._running = at, running
        self.began, self.wall, self.cpu = array("d"), array("d"), array("d")
        self.rss = array("q")
        self.state, self.number, self.lane = array("B"), array("L"), array("L")
        self._lanes: dict[Lane, int] = {}
        self.retries = 0

    def __len__(self) -> int:
        return len(self.began)

    @property
    def lanes(self) -> list[Lane]:
        """Those that were used; `Bar.lane` is the place in this list."""
        return list(self._lanes)

    @property
    def first(self) -> float:
        """When the first one began, in seconds since the epoch."""
        return min(self.began, default=0.0)

    @property
    def last(self) -> float:
        """When the last one ended."""
        return max(map(float.__add__, self.began, self.wall), default=0.0)

    def add(self, record: JobRecord) -> int:
        """Take one attempt into account; returns its state."""
        end = record.outcome
        if end is None:
            found = self._running(record.job.number)
            if found is None:
                return LEFT
            since, slot, host = found
            self._put(record, Lane(host, record.stage, slot), since, max(0.0, self._at - since), RUNNING, None)
            return RUNNING
        state = STATES.index(end.status.value)
        if end.started is not None:
            self._put(record, Lane(end.host, record.stage, end.slot), end.started, end.wall, state, end)
        return state

    def _put(self, record: JobRecord, lane: Lane, began: float, wall: float, state: int, end: Outcome | None) -> None:
        self.began.append(began)
        self.wall.append(wall)
        self.cpu.append(end.user + end.system if end else 0.0)
        self.rss.append(end.max_rss if end else 0)
        self.state.append(state)
        self.number.append(record.attempt)
        self.lane.append(self._lanes.setdefault(lane, len(self._lanes)))
        self.retries += record.attempt > 1

    def bars(self) -> Iterator[Bar]:
        """Each attempt, as it is drawn."""
        first = self.first
        for began, wall, state, number, lane in zip(
            self.began, self.wall, self.state, self.number, self.lane, strict=True
        ):
            yield Bar(began - first, began - first + wall, state, number, lane)


def state_of(record: JobRecord, last: int) -> int:
    """How a job stands whose last attempt is in the state ``last``: one that is to be tried again is left."""
    if last == RUNNING or record.outcome is None:
        return last
    return LEFT if record.left and record.outcome.status not in (Status.LOST, Status.CANCELLED) else last
