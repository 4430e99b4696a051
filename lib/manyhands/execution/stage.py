"""One stage of several: its connections with the stages before and after it, and the halt rule as it sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from manyhands.core.job import Job, Outcome, Status
from manyhands.engine.outcomes import Halting
from manyhands.engine.supply import Pull
from manyhands.execution.batch import Batch
from manyhands.storage.journal import Journal
from manyhands.work.plan import Plan

if TYPE_CHECKING:
    from manyhands.execution.staged import StagedBatch


class StageHalting:
    """The halt rule as one stage sees it: a success is only counted after the last stage."""

    def __init__(self, staged: StagedBatch, *, first: bool, last: bool) -> None:
        self._staged, self._first, self._last = staged, first, last

    @property
    def reached(self) -> bool:
        return self._staged.halting.reached

    def count(self, status: Status) -> None:
        if self._last or status is not Status.OK:
            with self._staged.mutex:
                self._staged.halting.count(status)

    def know(self, total: int) -> None:
        if self._first:
            with self._staged.mutex:
                self._staged.halting.know(total)


class Stage:
    """One stage and its connections with the others; a `StageContext`."""

    batch: Batch
    """What carries it out; made after this object, which is its context."""

    def __init__(self, staged: StagedBatch, number: int, *, last: bool) -> None:
        self.number, self.last = number, last
        self.halting: Halting = StageHalting(staged, first=number == 1, last=last)  # type: ignore[assignment]  # the same interface
        self.missing: Iterator[Job] = iter(())
        self._staged = staged

    def columns(self, found: Sequence[str] | None) -> Sequence[str]:
        """See `StageContext.columns`."""
        staged = self._staged
        if found is not None and self.number == 1:
            staged.columns = found
            staged.opened.set()
        else:
            staged.opened.wait()
        return staged.columns

    def coming(self) -> Pull:
        """See `StageContext.coming`: the jobs that an earlier execution left between the stages, then those from the queue."""
        before = self._staged.stages[self.number - 2]
        queued = self._staged.queues[self.number - 2]
        journal = self.batch.run.journal()
        with closing(journal):
            for job in before.leaving(self.missing, journal):
                yield job, 0
        while True:
            ended = queued.ended  # read first: jobs that were queued before the end are then still found
            found = queued.take()
            if queued.tell_before():
                before.batch.wake()
            if found is not None:
                yield found, 0
            elif ended:
                return
            else:
                yield None

    def leaving(self, jobs: Iterator[Job], after: Journal) -> Iterator[Job]:
        """Those of ``jobs`` that the next stage, by its journal, has not begun."""
        return (job for job in jobs if not after.has(job.number))

    def open(self) -> bool:
        """See `StageContext.open`."""
        return self.last or not self._staged.queues[self.number - 1].full

    def done(self, outcome: Outcome) -> None:
        """Queue a job that succeeded: with the same input or, between functions, with what the one before returned."""
        job = outcome.attempt.job
        queued, after = self._staged.queues[self.number - 1], self._staged.stages[self.number]
        if queued.put(onward(job, outcome, after.batch.plan)):
            after.batch.wake()


def onward(job: Job, outcome: Outcome, plan: Plan) -> Job:
    """A job as the next stage, of ``plan``, gets it."""
    values = (outcome.result or b"null",) if plan.work.is_function else job.values
    return job._replace(values=values, place=None)  # which is in the folder of the first stage
