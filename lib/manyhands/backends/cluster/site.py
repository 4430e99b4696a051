"""One execution at a worker of a cluster: a local backend in a thread of its own, to which the tasks of the worker bring attempts.

    a task of Dask --take--> Parcel, inbox --> backend --Ended--> the parcel is over: the task returns its ends
                                                       --Started of what is not over soon--> an event

A parcel of several attempts that takes long tells its ends as events, and gives back what has not begun: others may be free.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from manyhands.backends.cluster.travelling import Baggage, Began, Failure, Over, Remark, Sent, Told, arrived, unpacked
from manyhands.backends.local import open_local
from manyhands.backends.protocol import Backend, Ended, Noted, Report, Started
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.hosted_backend import HostedBackend
from manyhands.backends.workers import fork_server
from manyhands.core.attempt import AttemptId, Ending

_SOON: Final = 0.03
"""Seconds. The coordinator hears of a running attempt only if it runs longer."""
_LATE: Final = 0.25
"""Seconds that several attempts may take together."""


class Parcel:
    """Attempts that one task has brought; ``over`` is set when all have ended."""

    def __init__(self, ids: Sequence[AttemptId]) -> None:
        self.left = set(ids)
        self.ends: list[Over] = []
        self.over = threading.Event()
        self.since = time.monotonic()
        self.told = -1
        """How many of the ends have been told as events; -1: it is not late yet."""

    def add(self, end: Over) -> None:
        """An attempt of it has ended."""
        self.left.discard(end.id)
        self.ends.append(end)
        if not self.left:
            self.over.set()


class Site(HostedBackend):
    """See the module's first lines. ``tell`` sends events, from our thread."""

    who = "the worker"

    def __init__(self, name: str, baggage: Baggage, slots: int, tell: Callable[[list[Told]], None]) -> None:
        super().__init__(name)
        self._baggage, self._slots, self._announce = baggage, slots, tell
        self._call = baggage.settings.call if isinstance(baggage.settings, FunctionSettings) else None
        self._parcels: dict[AttemptId, Parcel] = {}
        self._fresh: deque[Began] = deque()
        self._news: list[Told] = []
        self._refused: set[AttemptId] = set()
        """Those that must not begin here."""
        self._files: dict[tuple[AttemptId, int], str] = {}
        self.paused = False
        self.heard = time.monotonic()
        """When the coordinator gave the last sign of life."""
        self._begin()

    # -- called by the worker's threads ----------------------------------------------------------------------------------

    def take(self, attempts: Sequence[Sent]) -> Parcel:
        """Do attempts, but for those that were withdrawn."""
        parcel = Parcel([(job, number) for job, number, _ in attempts])
        with self._mutex:
            refused = self._refused & parcel.left
            self._refused -= refused
            wanted = [one for one in attempts if (one[0], one[1]) not in refused]
            self._parcels.update(((job, number), parcel) for job, number, _ in wanted)
        for id in refused:
            parcel.add(Over(id, time.monotonic(), Ending(), began=False))
        if self.failure is not None:
            self._give_back([(job, number) for job, number, _ in wanted], self.failure)
        elif wanted:
            self.start([arrived(one, self._call) for one in wanted])
        return parcel

    def withdraw(self, ids: Sequence[AttemptId]) -> list[AttemptId]:
        """Which of them are here; the others are refused from now on."""
        with self._mutex:
            here = [id for id in ids if id in self._parcels]
            self._refused.update(set(ids).difference(here))
        return here

    def refuse(self, ids: Sequence[AttemptId]) -> None:
        """Never begin these."""
        with self._mutex:
            self._refused.update(ids)

    def hold(self, paused: bool) -> None:
        """Suspend or continue all attempts."""
        self.paused, self.heard = paused, time.monotonic()
        self.pause(paused)

    def read(self, id: AttemptId, stream: int, offset: int, size: int) -> bytes:
        """A piece of an output that is in a file; the file is removed after its last piece. Raises LookupError if it is gone."""
        path = self._files[id, stream]
        with open(path, "rb", buffering=0) as file:
            piece = os.pread(file.fileno(), size, offset)
            if len(piece) < size:
                del self._files[id, stream]
                os.unlink(path)
        return piece

    @property
    def is_closed(self) -> bool:
        """Whether it does nothing more."""
        return self._closing.is_set()

    @property
    def is_orphan(self) -> bool:
        """Whether the coordinator has given no sign of life for its lease."""
        return not self.paused and time.monotonic() - self.heard > self._baggage.settings.lease

    # -- our thread ------------------------------------------------------------------------------------------------------

    def _opened(self, folder: Path) -> Backend:
        if self._call is not None:
            fork_server.run_with_main()
        return open_local(unpacked(self._baggage, self._slots, folder))

    def _patience(self) -> float:
        if self._inbox:
            return 0.0
        return _SOON if self._fresh else _LATE if self._parcels else 1.0

    def _fail(self, why: str) -> None:
        self.failure = why
        self._announce([Failure(why)])
        self._give_back([one.id for one in self._known([*self.held])], why)

    def _give_back(self, ids: Sequence[AttemptId], why: str) -> None:
        for id in ids:
            self._over(Over(id, time.monotonic(), Ending(error=why), began=False))

    def _tell(self, report: Report) -> None:
        if isinstance(report, Noted):
            self._news.append(Remark(report.text))
        elif isinstance(report, Started):
            self._fresh.append(Began(report.attempt.id, report.at, report.slot, report.pid))
        elif isinstance(report, Ended):
            id, ending = report.attempt.id, report.ending
            for stream, output in enumerate((ending.stdout, ending.stderr)):
                if output.path is not None:
                    self._files[id, stream] = output.path
            stopped = report.at >= self._stops.pop(id, math.inf)
            late = id in self._parcels and self._parcels[id].told >= 0
            again = late and not report.began and not stopped and ending.error is None
            self._over(Over(id, report.at, ending, report.began, report.died, report.pid, stopped, again))

    def _over(self, end: Over) -> None:
        with self._mutex:
            parcel = self._parcels.pop(end.id, None)
            self.held.pop(end.id, None)
        if parcel is not None:
            parcel.add(end)

    def _send(self) -> None:
        """Tell of attempts that take longer, and of parcels that do."""
        now = time.monotonic()
        while self._fresh and now - self._fresh[0].at >= _SOON:
            began = self._fresh.popleft()
            if began.id in self._parcels:
                self._news.append(began)
        for parcel in {*self._parcels.values()}:
            if len(parcel.left) + len(parcel.ends) > 1 and now - parcel.since >= _LATE:
                self._hurry(parcel)
        if self._news:
            news, self._news = self._news, []
            self._announce(news)

    def _hurry(self, parcel: Parcel) -> None:
        """Tell what is over of a parcel that takes long, and recall what has not begun."""
        if parcel.told < 0:
            parcel.told = 0
            self.recall([*parcel.left])
        ends = parcel.ends[parcel.told :]
        parcel.told += len(ends)
        self._news += ends
