"""``--backend auto``: measures the first jobs in worker processes, then chooses the backend for the rest.

Jobs that wait go to threads, which cost less; jobs that compute stay in processes; an async function goes to the event loop at once.
With a time-out, or a requested folder, environment or priority, jobs stay in processes, because threads have none of their own.
The choice is reported (`Noted`). Time in which a job waits for a CPU, because there are more jobs or programs than CPUs, does not
count as waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from manyhands.backends.protocol import Backend, Ended, Noted, Report, Started
from manyhands.core.job import Attempt
from manyhands.posix.cpu_wait import queued_seconds_of, waiting_share

_ENOUGH_JOBS: Final = 8
_ENOUGH_TIME: Final = 1.0  # seconds of work
_WORTH: Final = 0.005  # seconds: threads do not help shorter jobs
_DRAINING: Final = 0.02  # seconds between two polls while both backends work


class Auto:
    """A `manyhands.backends.protocol.Backend`; ``threads`` makes the other backend; ``cannot``: what threads cannot do, or None."""

    name = "auto"
    reports_start = True

    def __init__(
        self,
        processes: Backend,
        threads: Callable[[], Backend],
        *,
        cannot: str | None,
        queued: Callable[[int], float] = queued_seconds_of,
    ) -> None:
        self._old: Backend | None = None
        self._now = processes
        self._threads, self._cannot = threads, cannot
        self._chosen = False
        self._in_old = 0
        self._count, self._wall, self._cpu = 0, 0.0, 0.0
        self._queued = queued
        self._workers: dict[int, float] = {}
        """For each process, the seconds that it had waited for a CPU when its first job began."""

    @property
    def can_stop(self) -> bool:
        """As the current backend."""
        return self._now.can_stop

    @property
    def ahead(self) -> int:
        """Nothing until the backend is chosen."""
        return self._now.ahead if self._chosen else 0

    def start(self, attempt: Attempt) -> None:
        """Give the attempt to the current backend."""
        self._in_old += not self._chosen
        self._now.start(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """The reports of both backends, and, once, which one was chosen."""
        if self._old is None:
            found = list(self._now.reports(timeout))
        else:
            found = list(self._old.reports(0))
            self._in_old -= sum(isinstance(one, Ended) for one in found)
            if self._in_old == 0:
                self._old.close()
                self._old = None
            wait = 0.0 if found else _DRAINING if timeout is None else min(timeout, _DRAINING)
            found += self._now.reports(wait if self._old else timeout if not found else 0)
        if not self._chosen:
            self._workers.update(
                {
                    one.pid: self._queued(one.pid)
                    for one in found
                    if isinstance(one, Started) and one.pid and one.pid not in self._workers
                }
            )
            found += self._look([one for one in found if isinstance(one, Ended)])
        return found

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Recall from both backends."""
        for one in self._both():
            one.recall(attempts)

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Stop in both backends."""
        for one in self._both():
            one.stop(attempts, kill=kill)

    def pause(self, paused: bool) -> None:
        """Pause or continue both backends."""
        for one in self._both():
            one.pause(paused)

    def wake(self) -> None:
        """Make `reports` return."""
        for one in self._both():
            one.wake()

    def close(self) -> None:
        """Close both backends."""
        for one in self._both():
            one.close()

    def _both(self) -> list[Backend]:
        return [self._now] if self._old is None else [self._old, self._now]

    def _look(self, ends: Sequence[Ended]) -> list[Report]:
        """Measure ended attempts; choose when there are enough."""
        self._in_old -= len(ends)
        for end in ends:
            self._count += end.began
            self._wall += end.ending.wall
            self._cpu += end.ending.user + end.ending.system
        if (self._count < _ENOUGH_JOBS and self._wall < _ENOUGH_TIME) or not self._count:
            return []
        self._chosen = True
        queued = sum(max(0.0, self._queued(pid) - before) for pid, before in self._workers.items())
        waiting = waiting_share(self._wall, self._cpu, queued)
        share = f"{waiting:.0%} of the time of the first {self._count} jobs was waiting"
        if waiting <= 0.5 or self._wall / self._count < _WORTH:
            return [Noted(f"{share}: continuing in processes", requested=True)]
        if self._cannot:
            why = f"because threads cannot {self._cannot}"
            return [Noted(f"{share}: continuing in processes all the same, {why}", requested=True)]
        self._old, self._now = self._now, self._threads()
        return [Noted(f"{share}: continuing in threads", requested=True)]
