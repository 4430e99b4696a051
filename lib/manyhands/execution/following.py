"""What happens in a run that another process carries out, as the events that the run itself yields.

    RUN/journal.db (what ended) + RUN/standing.json (what runs, once a second) --look--> Began, Finished, ... Summary

Files are all that is read: however many look on, and whatever becomes of them, the run does not notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Final

from manyhands.core.events import Began, Counted, Event, Finished, RunStarted, Tick, Warned
from manyhands.core.job import Attempt, Job, Status
from manyhands.execution.how_it_ended import summary_of
from manyhands.execution.run_commands import commands_of
from manyhands.storage import progress_file
from manyhands.storage.journal import Journal
from manyhands.storage.progress_file import Going, RunProgress
from manyhands.storage.rows import JobRecord
from manyhands.storage.runs import Run, Store, is_busy
from manyhands.storage.stage_journals import Journals

_MOST: Final = 20_000
"""Attempts that are told of at one look."""
_Place = tuple[int, int, int]
"""Stage, job, attempt."""


class Follower:
    """Looks at a run of ``store`` again and again, until it is `over`. What had ended before the first look is only counted; with
    ``history`` it is told, too. ``clock`` is monotonic, in seconds; ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        run: Run,
        *,
        history: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self.run, self._clock, self._now = store, run, clock, now
        self._filled = commands_of(run)
        with ExitStack() as stack:
            journals = self._open(stack)
            self._places = [0 if history else journal.last_place() for journal in journals]
            self._executions = len(journals[-1].executions())
        self._history, self._begun = history, False
        self._running: set[_Place] = set()
        self._ended: set[_Place] = set()
        """Ended since what runs was last read, which may still name them."""
        self._total: int | None = None
        self._since = clock()
        self.paused = False
        self.over = False
        """Nobody carries the run out any more, and all of it has been told."""

    def _open(self, stack: ExitStack) -> list[Journal]:
        """The journals of the stages. They are open only while they are looked at: who closes one last has to tidy it up, and that is
        for the process that carries the run out."""
        return [stack.enter_context(closing(stage.journal())) for stage in self.run.stages]

    def look(self) -> list[Event]:
        """What has happened since the last look, and a Tick. Raises JournalError."""
        busy = is_busy(self.run)  # asked first: what its last execution has written is then read below
        standing = [progress_file.read(stage.path) for stage in self.run.stages]
        found: list[Event] = []
        with ExitStack() as stack:
            journals = self._open(stack)
            if not self._begun:
                self._begun = True
                found += self._beginning(standing, journals)
            ended = [[*self._finished(stage, journal)] for stage, journal in enumerate(journals, 1)]
            for one in ended:
                found += one
            found += self._now_running(standing)
            if busy or any(len(one) >= _MOST for one in ended):
                return [*found, Tick(self._clock(), len(self._running))]
            self.over = True
            return [*found, *self._end(journals)]

    def _beginning(self, standing: list[RunProgress | None], journals: list[Journal]) -> Iterator[Event]:
        self.run = self._store.get(self.run.id) or self.run
        if standing[0] is not None:
            self._since = self._clock() - max(0.0, self._now() - standing[0].started)
        before = 0 if self._history else sum(Journals(journals).tally().counts.values())
        jobs = [self.run.record, *self.run.record.get("then", ())]
        width = sum(int(one.get("limits", {}).get("jobs", 1)) for one in jobs)
        self._total = self._known_total(standing)
        works = [one["template"] for one in jobs]
        text = " --then ".join(work if isinstance(work, str) else " ".join(work) for work in works)
        yield RunStarted(self.run.id, text, width, self._total, before)

    def _known_total(self, standing: list[RunProgress | None]) -> int | None:
        known = standing[0].total if standing[0] is not None else None
        return known if known is not None else self.run.record.get("total")

    def _finished(self, stage: int, journal: Journal) -> Iterator[Event]:
        """Attempts of a stage that have ended since the last look, up to `_MOST`."""
        told = 0
        while told < _MOST and (page := journal.ended_after(self._places[stage - 1])):
            for place, record in page:
                self._places[stage - 1] = place
                told += 1
                if record.outcome is None:
                    continue
                at = (stage, record.job.number, record.attempt)
                self._running.discard(at)
                self._ended.add(at)
                yield self._event(record, stage)

    def _event(self, record: JobRecord, stage: int) -> Finished:
        outcome = record.outcome
        assert outcome is not None  # noqa: S101 - the caller has looked
        attempt = Attempt(record.job, record.attempt, self._filled(record.job, stage))
        passes = outcome.status is Status.OK and stage < len(self._places)
        return Finished(outcome._replace(attempt=attempt, final=outcome.final and not passes), None, stage)

    def _now_running(self, standing: list[RunProgress | None]) -> Iterator[Event]:
        """What has begun since the last look, and still runs; also the number of jobs, once it is known."""
        if (total := self._known_total(standing)) is not None and total != self._total:
            self._total = total
            yield Counted(total)
        there: set[_Place] = set()
        for stage, one in enumerate(standing, 1):
            self.paused = one.paused if one is not None else self.paused
            for going in one.named if one is not None else ():
                at = (stage, going.job, going.attempt)
                there.add(at)
                if at not in self._running and at not in self._ended:
                    self._running.add(at)
                    yield self._began(going, stage)
        self._ended &= there

    def _began(self, going: Going, stage: int) -> Began:
        job = Job(going.job, b"", going.values)
        at = self._clock() - max(0.0, self._now() - going.since)
        attempt = Attempt(job, going.attempt, self._filled(job, stage))
        return Began(attempt, at, going.slot, going.pid, stage, going.host)

    def _end(self, journals: list[Journal]) -> Iterator[Event]:
        """How the run stands, now that nobody carries it out."""
        self.run = self._store.get(self.run.id) or self.run
        tally, executions = Journals(journals).tally(), journals[-1].executions()
        if len(executions) == self._executions and tally.left:
            yield Warned("the process that carried it out has ended without bringing it to an end")
        yield summary_of(self.run, tally.counts, tally.left, executions, self._clock() - self._since)
