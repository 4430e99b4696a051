"""What is promised of a run, compared with what its jobs really did, with what is told, and with what the journals hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Protocol

from manyhands.backends.protocol import Ended
from manyhands.backends.shared import orphan_results
from manyhands.core.events import Counted, Event, Finished, RunStarted, Summary
from manyhands.core.job import Outcome, Status
from manyhands.core.limits import Halt
from manyhands.storage.database import connect
from manyhands.storage.journal import Journal, Tally
from manyhands.storage.rows import LEFT
from manyhands.storage.runs import Run
from manyhands.storage.schema import SCHEMA_VERSION
from manyhands.storage.stage_journals import Journals
from simulation.files import SimulatedDatabase
from simulation.scenario import Scenario
from simulation.world import Broken, Copy, Key, World


class Reader(Protocol):
    """Opens the journal of a stage beside the coordinator, as it is at this moment."""

    def __call__(self, stage: int) -> SimulatedDatabase: ...


class Promises:
    """Every method raises Broken if a promise was not kept."""

    def __init__(self, scenario: Scenario, world: World, reader: Reader) -> None:
        self.scenario, self.world, self._open = scenario, world, reader
        self._halt = Halt.parse(scenario.halt)
        self.told: dict[Key, Status] = {}
        self.helper_lost = False
        self.begin_execution()

    def begin_execution(self) -> None:
        """A coordinator is started; what was told by those before stays told."""
        self.unrecordable: set[int] = set()
        """Stages whose journal could not be written."""
        self.helper_lost = False
        self._readers: dict[int, SimulatedDatabase] = {}
        self.stopped = self._halted = False
        self._heard = 0
        self._ended = 0
        self._done_before: int | None = None

    # -- while it runs ---------------------------------------------------------------------------------------------------

    def hear(self, report: Ended, copy: Copy | None) -> None:
        """An end has been received; whether a rule to halt is met by it, as far as that can be said without the engine."""
        plain = copy is not None and not copy.stopped and not self.scenario.timeout and not self.scenario.retries
        if self._halt.count is None or not plain or copy is None:
            return
        failed = (report.ending.exit or 0) > 0
        passed = report.ending.exit == 0 and copy.key[0] == self.scenario.stages
        self._heard += {"fail": failed, "success": passed, "done": failed or passed}[self._halt.on]
        self._halted = self._heard >= self._halt.count

    def may_begin(self, copy: Copy, ready: int, durable: bytes | None) -> None:
        """Never two copies at once, nothing that is not in the journal, nothing that is done, nothing after the end was decided.

        ``ready``: attempts that its backend has in hand; ``durable``: what is kept of the inputs if they come through a pipe.
        """
        stage, job, _ = copy.key
        if any(other[:2] == (stage, job) for other in self.world.alive):
            raise Broken(f"two copies of job {job} at once")
        if not self._committed(copy.key):
            raise Broken(f"job {job} begins, and its intent is not in the journal")
        if durable is not None and copy.key[::2] == (1, 1) and b"\n%s\n" % copy.attempt.job.values not in b"\n" + durable:
            raise Broken(f"job {job} begins, and its input is not durable")
        if any(self.told.get((stage, job, number)) is Status.OK for number in range(1, copy.key[2])):
            raise Broken(f"job {job} was done, and begins again")
        if self.stopped:
            raise Broken(f"job {job} begins although the run was stopped")
        if self._halted:
            raise Broken(f"job {job} begins although the halt rule was met")
        if self.scenario.halt != "never" and ready > self.scenario.jobs:
            raise Broken(f"{ready} jobs lie ready for {self.scenario.jobs} slots, and a halt rule may be met by any")
        if stage in self.unrecordable:
            raise Broken(f"job {job} begins after the journal could not be written")

    def _reader(self, stage: int) -> SimulatedDatabase:
        if stage not in self._readers:
            self._readers[stage] = self._open(stage)
        return self._readers[stage]

    def _tally(self, run: Run) -> Tally:
        """What the journals hold at this moment, while a coordinator has them open."""
        open_ones = [(self._reader(stage), one.path / "journal.db") for stage, one in enumerate(run.stages, 1)]
        journals = [Journal(path, db, SCHEMA_VERSION, connect, checked=True, writes=False) for db, path in open_ones]
        return Journals(journals).tally()

    def _committed(self, key: Key) -> bool:
        query = self._reader(key[0]).execute("SELECT 1 FROM began WHERE job = ? AND attempt = ?", key[1:])
        return list(query) != []

    def see(self, event: Event, run: Run) -> None:
        """What is told is true, and adds up."""
        if isinstance(event, RunStarted):
            self._check_total(event.total)
            self._done_before = sum(self._tally(run).counts.values())
            if event.done_before != self._done_before:
                raise Broken(f"told that {event.done_before} were done before, recorded {self._done_before}")
        elif isinstance(event, Counted):
            self._check_total(event.total)
        elif isinstance(event, Finished):
            self._see_end(event)

    def _see_end(self, event: Finished) -> None:
        outcome = event.outcome
        key = (event.stage, outcome.attempt.job.number, outcome.attempt.number)
        if key in self.told:
            raise Broken(f"the end of {key} is told twice")
        self.told[key] = outcome.status
        self._ended += outcome.final and outcome.status not in LEFT
        self._check_true(key, outcome)

    def _check_total(self, total: int | None) -> None:
        if total is not None and total != self.scenario.inputs:
            raise Broken(f"told that there are {total} inputs, of {self.scenario.inputs}")

    def _check_true(self, key: Key, outcome: Outcome) -> None:
        copy = self.world.copies.get(key)
        end = copy.end if copy else None
        fits = {
            Status.OK: end == ("exit", 0),
            Status.FAILED: end is not None and end != ("exit", 0),
            Status.TIMEOUT: copy is not None and copy.ended - copy.began >= (self.scenario.timeout or 0),
            Status.CANCELLED: copy is None or end is not None,
            Status.LOST: True,
        }
        if not fits[outcome.status]:
            raise Broken(f"{key} is recorded as {outcome}, and was {copy}")

    # -- after an execution ----------------------------------------------------------------------------------------------

    def check_end(self, summary: Summary, run: Run) -> bool:
        """What was told is recorded, the counts add up, something was done; returns whether nothing is left, which is true, too."""
        rows = dict(recorded(run))
        self._check_records(rows)
        with closing(Journals.open(Run(run.id, run.path, run.record))) as journals:
            self._check_counts(summary, journals.tally())
        complete = not summary.left and not summary.unread
        disturbed = self.helper_lost or self.stopped
        if summary.left and not disturbed and not any(self._of_this_execution()):
            raise Broken("something is left, and nothing has begun")
        if summary.left and not disturbed and not summary.halted and not self._ended:
            raise Broken("nothing is done any more")
        if summary.stopped_by and not self.stopped:
            raise Broken("told that it was stopped, and nobody has")
        if complete:
            self._check_complete(summary, rows)
        return complete

    def _check_records(self, rows: dict[Key, Outcome]) -> None:
        """What was told is there, unchanged; nothing else is but the truth."""
        for key, status in self.told.items():
            if key not in rows or rows[key].status is not status:
                raise Broken(f"{key} was told as {status}, and the journal has {rows.get(key)}")
        for key, outcome in rows.items():
            self._check_true(key, outcome)

    def check_repeated(self, run: Run) -> None:
        """At most as many jobs as there are slots have run, or have been cut off, of which the journal and helpers know no end."""
        known = {key for key, _ in recorded(run)}
        for stage, one in enumerate(run.stages, 1):
            known |= {(stage, end.job, end.attempt) for end in orphan_results.read(one.outputs)}
        for stage in range(1, self.scenario.stages + 1):
            unknown = [key for key in self._of_this_execution() if key[0] == stage and key not in known]
            if len(unknown) > self.scenario.jobs:
                raise Broken(f"{len(unknown)} jobs have to be repeated after one crash, on {self.scenario.jobs} slots")

    def _check_counts(self, summary: Summary, tally: Tally) -> None:
        if tally.counts != {key: number for key, number in summary.counts.items() if number}:
            raise Broken(f"told {summary.counts}, recorded {tally.counts}")
        if tally.left != summary.left:
            raise Broken(f"told that {summary.left} are left, recorded {tally.left}")
        if summary.done_before != self._done_before:
            raise Broken(f"told that {summary.done_before} were done before, and then {self._done_before}")
        if summary.jobs != summary.done_before + self._ended:
            raise Broken(f"{summary.jobs} are done: {summary.done_before} before and {self._ended} now")
        self._check_total(summary.total)
        known = summary.jobs + summary.left
        if known > self.scenario.inputs or (not summary.unread and known != self.scenario.inputs):
            raise Broken(f"{summary} does not add up to {self.scenario.inputs}")
        if summary.total is None and not summary.unread:
            raise Broken("all inputs were read, and their number is not told")
        if summary.total is not None and summary.jobs + (summary.not_run or 0) != summary.total:
            raise Broken(f"{summary} does not add up to its total")

    def _check_complete(self, summary: Summary, rows: dict[Key, Outcome]) -> None:
        if summary.jobs != self.scenario.inputs:
            raise Broken(f"complete with {summary.jobs} of {self.scenario.inputs} inputs")
        last = {job: (stage, attempt, rows[stage, job, attempt]) for stage, job, attempt in sorted(rows)}
        for job, (stage, attempt, outcome) in last.items():
            if outcome.status in LEFT or (stage, job, attempt) not in self.world.copies:
                raise Broken(f"complete, but job {job} is {outcome.status}")

    def _of_this_execution(self) -> Iterable[Key]:
        return (key for key, copy in self.world.copies.items() if copy.execution == self.world.execution)


def recorded(run: Run) -> Iterator[tuple[Key, Outcome]]:
    """Everything that the journals hold, read by SQLite itself, while no coordinator has them open."""
    for stage, one in enumerate(run.stages, 1):
        with closing(Journal.open(one.path / "journal.db")) as journal:
            for record in journal.records():
                last = [record.outcome] if record.outcome else []
                for outcome in last if record.attempt == 1 else journal.attempts(record.job.number):
                    yield (stage, record.job.number, outcome.attempt.number), outcome
