"""The journals of a run, one for each stage, read as one: the last stage of each job, and the number of jobs in each state.

A job's record is that of the last stage it has begun; a job that succeeded there, but has further stages, still has to be done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import groupby

from manyhands.core.job import Outcome, Status
from manyhands.storage.journal import Journal, Tally
from manyhands.storage.rows import JobRecord
from manyhands.storage.runs import Run


class Journals:
    """The journals of all stages, in their order; the methods are those of `Journal`."""

    def __init__(self, journals: Sequence[Journal]) -> None:
        self._journals = list(journals)

    @classmethod
    def open(cls, run: Run) -> Journals:
        """Open the journals of a run. Raises JournalError."""
        opened: list[Journal] = []
        try:
            for stage in run.stages:
                opened.append(stage.journal())  # noqa: PERF401 - if one fails, the others have to be closed
        except BaseException:
            cls(opened).close()
            raise
        return cls(opened)

    def close(self) -> None:
        """Close them all."""
        for journal in self._journals:
            journal.close()

    def records(self) -> Iterator[JobRecord]:
        """See `Journal.records`."""
        for record in self._journals[0].records():
            yield record if len(self._journals) == 1 else self.record(record.job.number) or record

    def histories(self) -> Iterator[list[JobRecord]]:
        """For each job, by number: every attempt at every stage, the first one first; the last is as in `records`."""
        streams = [self._attempts(stage) for stage in range(1, len(self._journals) + 1)]
        for _, found in groupby(merge(*streams, key=_place), key=lambda record: record.job.number):
            yield list(found)

    def _attempts(self, stage: int) -> Iterator[JobRecord]:
        return (self._placed(record, stage) for record in self._journals[stage - 1].every_attempt())

    def width(self) -> int:
        """See `Journal.width`."""
        return self._journals[0].width()

    def record(self, number: int) -> JobRecord | None:
        """See `Journal.record`."""
        for stage in range(len(self._journals), 0, -1):
            record = self._journals[stage - 1].record(number)
            if record is not None:
                return self._placed(record, stage)
        return None

    def parts(self, number: int) -> Iterator[tuple[JobRecord, list[Outcome]]]:
        """(record, attempts that have ended) of a job at each stage that it has begun."""
        for stage, journal in enumerate(self._journals, 1):
            record = journal.record(number)
            if record is not None:
                yield record._replace(stage=stage), journal.attempts(number)

    def finished(self) -> Iterator[JobRecord]:
        """See `Journal.finished`; stage after stage."""
        for stage, journal in enumerate(self._journals, 1):
            for record in journal.finished():
                placed = self._placed(record, stage)
                if stage == len(self._journals) or not placed.left:
                    yield placed

    def tally(self) -> Tally:
        """See `Journal.tally`: ok after the last stage, failed in any, else left."""
        tallies = [journal.tally() for journal in self._journals]
        counts: dict[Status, int] = {}
        for stage, tally in enumerate(tallies, 1):
            for status, number in tally.counts.items():
                if status is not Status.OK or stage == len(tallies):
                    counts[status] = counts.get(status, 0) + number
        everything = sum(tallies[0].counts.values()) + tallies[0].left
        return Tally(counts, everything - sum(counts.values()))

    def tallies(self) -> list[Tally]:
        """The tally of each stage."""
        return [journal.tally() for journal in self._journals]

    def executions(self) -> list[tuple[float, float, bool]]:
        """See `Journal.executions`; the last stage takes as long as the whole run."""
        return self._journals[-1].executions()

    def _placed(self, record: JobRecord, stage: int) -> JobRecord:
        """A record with its stage; a success before the last stage is not final."""
        outcome = record.outcome
        if outcome is not None and outcome.status is Status.OK and stage < len(self._journals):
            outcome = outcome._replace(final=False)
        return record._replace(outcome=outcome, stage=stage)


def _place(record: JobRecord) -> tuple[int, int, int]:
    return record.job.number, record.stage, record.attempt
