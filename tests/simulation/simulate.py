"""One simulated run: made, executed, crashed and resumed as the seed says, until it is done; every promise is checked meanwhile.

`UNFIXED` names checks of promises that the code does not keep yet; they are switched on by taking the name out.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import apsw

from manyhands.backend import Backend, Ended
from manyhands.backends import late
from manyhands.batch import Batch, Work
from manyhands.engine import in_order
from manyhands.errors import JournalError
from manyhands.events import Event, Finished, Summary, Tick, Warned
from manyhands.inputs import Source, Spec
from manyhands.job import Outcome, Status
from manyhands.journal import Journal
from manyhands.limits import Halt, Limits, Timeout
from manyhands.line import Line
from manyhands.plan import Plan, Stage
from manyhands.rows import LEFT
from manyhands.runs import Run, RunLock, Store, lock
from manyhands.stages import Journals
from manyhands.takeover import take_over
from manyhands.template import Template
from simulation.files import Files, SimulatedDatabase, SimulatedDisk
from simulation.inputs import Pipe
from simulation.world import Broken, Copy, Crash, Key, SimulatedBackend, World

UNFIXED: set[str] = {"halt", "order", "recall", "unknown", "share"}
"""``halt``: something begins after the end that meets a halt rule has been received. ``order``: results behind a slow one.
``recall``: something begins after the journal could not be written. ``unknown``: what is not known is recorded as a time-out.
``share``: a halt rule with a percentage, on a line that is resumed, is met at once, and for ever."""

STATE = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a seed chooses."""

    jobs: int
    inputs: int
    retries: int
    backoff: float
    timeout: float | None
    halt: str
    ordered: bool
    hold: int
    piped: bool
    stages: int
    ahead: int
    helpers: int
    failing: float
    stubborn: float
    lateness: float
    crashes: int
    faults: int

    @classmethod
    def draw(cls, chance: Random) -> Scenario:
        """A scenario; most things are at their usual value, most of the time."""
        rare = chance.random
        return cls(
            jobs=chance.randint(1, 4), inputs=chance.choice((1, 3, 8, 15, 30)), retries=chance.choice((0, 0, 1, 2)),
            backoff=chance.choice((0.0, 1.0, 30.0)), timeout=chance.choice((None, None, 3.0)),
            halt=chance.choice(("never", "never", "now,fail=1", "soon,fail=2", "now,success=3", "soon,done=30%")),
            ordered=rare() < 0.5, hold=chance.choice((0, 3, 2000)), piped=rare() < 0.3, stages=chance.choice((1, 1, 1, 2, 3)),
            ahead=chance.choice((0, 2, 8)), helpers=chance.randint(1, 2), failing=chance.choice((0.0, 0.1, 0.5)),
            stubborn=chance.choice((0.0, 0.2)), lateness=chance.choice((0.0, 0.0, 0.05, 30.0)),
            crashes=chance.choice((0, 1, 1, 2, 3, 5)), faults=chance.choice((0, 0, 0, 1)),
        )  # fmt: skip

    def plan(self, names: list[str]) -> Plan:
        """The same as a plan."""
        timeout = Timeout(seconds=self.timeout) if self.timeout else None
        halt = Halt.parse("never" if self.stages > 1 and "%" in self.halt and "share" in UNFIXED else self.halt)
        source: Spec = {"kind": "args", "values": names, "name": None}
        if self.piped:
            source = {"kind": "lines", "path": "-", "null": False, "separator": None}
        return Plan(
            template=Template.parse("job {}"), source=source, workdir="/", streamed=self.piped,
            limits=Limits(
                jobs=self.jobs, retries=self.retries, backoff=self.backoff, timeout=timeout, halt=halt, grace=2.0,
                keep_order=self.ordered,
            ),
            then=tuple(Stage(Template.parse(f"stage{n} {{}}"), self.jobs, "commands") for n in range(2, self.stages + 1)),
        )  # fmt: skip


class SimulatedRun(Run):
    """A run whose journals are on the simulated disk."""

    files: Files

    def journal(self, *, check: bool = False) -> Journal:
        return Journal.open(self.path / "journal.db", check=check, connect=FILES[-1].connect)


FILES: list[Files] = []
"""The disk of the execution that is simulated now."""


class SimulatedBatch(Batch):
    """A batch, or a stage of a line, in the world of ``simulation``."""

    simulation: Simulation
    pipe: Pipe | None = None

    def _open_backend(self, source: Source) -> Backend:
        return self.simulation.backend(self.place.number if self.place else 1)

    def take_over(self, journal: Journal) -> Iterator[Event]:
        if self.work != "new" and not self._taken:
            self._taken = True
            take_over(self.run, self.plan, journal, lambda _: self.simulation.world.kill_all())
        yield Warned("taken over")

    def _open_source(self, journal: Journal, stack: ExitStack) -> tuple[Source, str | None]:
        if self.pipe is None or (self.place and self.place.number > 1):
            return super()._open_source(journal, stack)
        journal.follow(self.pipe.kept)
        self.pipe.keep_in(self.run.path, SimulatedDisk(FILES[-1]))
        return self.pipe, None


class SimulatedLine(Line):
    """A line whose stages are stepped in turn, as the seed says, instead of running in threads."""

    chance: Random

    def events(self, *, tick: float | None = None) -> Generator[Event, None, None]:
        with ExitStack() as stack:
            stack.callback(self._held.close)
            yield from self._prepare()
            told = self._stepped(stack)
            ordered = self.plan.limits.keep_order and self.work == "new"
            yield from in_order(told, self.stages[0].batch.issued, self._recall) if ordered else told

    def _stepped(self, stack: ExitStack) -> Iterator[Event]:
        running = {stage.number: stage.batch.events() for stage in self.stages}
        opening = SimulatedBatch.simulation.world.opening
        opening.update(running)
        for events in running.values():
            stack.callback(events.close)
        while running:
            number = 1 if not self.opened.is_set() else self.chance.choice(self._busy(running) or list(running))
            stage = self.stages[number - 1]
            try:
                event = next(running[number])
            except StopIteration:
                del running[number]
                opening.discard(number)
                self.opened.set()
                if not stage.last:
                    self.belts[number - 1].ended = True
                    self.stages[number].batch.wake()
                continue
            if (
                isinstance(event, Finished)
                and event.outcome.final
                and event.outcome.status is Status.OK
                and not stage.last
            ):
                stage.done(event.outcome)
            if isinstance(event, Finished | Tick | Warned):
                yield from self._one(number, event)
        self.summary = self._summarise(0.0, 0.0)
        yield self.summary

    def _busy(self, running: dict[int, Generator[Event, None, None]]) -> list[int]:
        """Stages that do not wait for the time to go on."""
        waiting = {one.stage for one in SimulatedBatch.simulation.world.backends if one.idle is None or one.idle >= 0}
        return [number for number in running if number not in waiting]


class Simulation:
    """One seed."""

    def __init__(self, seed: int, state: Path) -> None:
        self.chance = Random(seed)
        self.scenario = Scenario.draw(self.chance)
        self.names = [f"input{number % 7 if number % 5 == 0 else number}" for number in range(self.scenario.inputs)]
        self.world = World(self.chance, self._may_begin)
        self.world.failing, self.world.stubborn = self.scenario.failing, self.scenario.stubborn
        self.world.lateness = self.scenario.lateness
        self.store = Store(state)
        self.told: dict[Key, Status] = {}
        self.recorded: dict[Key, tuple[Status, bool]] = {}
        self.halted_at: bool = False
        self.heard = 0
        self.broken_at: bool = False
        self.helper_lost = False
        self.faulty: range = range(0)
        self.open_backends: list[SimulatedBackend] = []
        self.readers: dict[int, SimulatedDatabase] = {}
        self.run: SimulatedRun

    # -- one execution after another -------------------------------------------------------------------------------------

    def go(self) -> None:
        """Execute until nothing is left. Raises Broken, or what the code under test raised that it must not raise."""
        made, held = self.store.create(self.scenario.plan(self.names).to_json(), "r")
        self.run = SimulatedRun(made.id, made.path, made.asked)
        work: Work = "new"
        crashes, faults, again = self.scenario.crashes, self.scenario.faults, self.scenario.piped
        for _ in range(30 + 2 * self.scenario.inputs * self.scenario.stages):
            self.world.crash_at = self.world.steps + self._moment() if crashes > 0 else None
            crashes -= 1
            self.faulty = range(0)
            if faults > 0 and self.chance.random() < 0.5:
                faults -= 1
                first = self.world.steps + self._moment()
                self.faulty = range(first, first + self.chance.choice((1, 5, 10**9)))
            if self._execute(work, held, give=again):
                return
            work, held = "rest", lock(self.run)
            again = self.scenario.piped and self.chance.random() < 0.5
        raise Broken("it does not come to an end")

    def _moment(self) -> int:
        return int(self.chance.choice((20, 100, 400)) * self.chance.random()) + 1

    def _execute(self, work: Work, held: RunLock, *, give: bool) -> bool:
        """One execution; whether it did everything."""
        world = self.world
        world.execution += 1
        world.dead = self.halted_at = self.broken_at = self.helper_lost = False
        self.heard = 0
        world.backends.clear()
        world.opening.clear()
        self.open_backends.clear()
        self.readers.clear()
        FILES[:] = [Files(world.step, self._fault)]
        done_before = self._done()
        summary: Summary | None = None
        batch = self._batch(work, held, give=give)
        try:
            with closing(batch.events()) as events:
                for event in events:
                    self._see(event)
                    if self.open_backends and self.chance.random() < 0.002:
                        backend = self.chance.choice(self.open_backends)
                        backend.lose_helper(self.chance.randrange(self.scenario.helpers))
                        self.helper_lost = True
            summary = batch.summary
        except (Crash, Broken):
            if world.broken:
                raise world.broken from None
            if not world.dead:
                raise
        except JournalError as error:
            if not self.faulty:
                raise
            assert error.exit_code == 74
        for stage in batch.stages if isinstance(batch, SimulatedLine) else ():
            stage.batch.held.close()
        if summary is None or world.dead:
            self._end_of_the_process(held)
            return False
        held.close()
        FILES[-1].leave()
        self._check_records()
        return self._check_summary(summary, done_before)

    def _batch(self, work: Work, held: RunLock, *, give: bool) -> SimulatedBatch | SimulatedLine:
        plan = Plan.from_json(self.run.asked, {})
        batch = SimulatedBatch(self.run, held, plan, work=work)
        if give and self.scenario.piped:
            batch.pipe = Pipe("".join(f"{name}\n" for name in self.names).encode(), self.world, self.chance)
        SimulatedBatch.simulation, SimulatedBatch.clock = self, staticmethod(lambda: self.world.now)
        if not plan.then:
            return batch
        line = SimulatedLine(batch, plan)
        line.chance = self.chance
        return line

    def backend(self, stage: int) -> SimulatedBackend:
        """What does the jobs of a stage."""
        scenario = self.scenario
        made = SimulatedBackend(self.world, stage, scenario.jobs, scenario.ahead, scenario.helpers, 2.0)
        made.heard = self._hear
        self.open_backends.append(made)
        return made

    def _hear(self, report: Ended) -> None:
        """An end has been received; whether a rule to halt is met by it, as far as that can be said without the engine."""
        wanted = Halt.parse(self.scenario.halt)
        copy = next((one for one in self.world.copies.values() if one.attempt is report.attempt), None)
        plain = copy is not None and not copy.stopped and not self.scenario.timeout and not self.scenario.retries
        if wanted.count is None or not plain or copy is None:
            return
        last = copy.key[0] == self.scenario.stages
        self.heard += (report.exit or 0) > 0 if wanted.on == "fail" else report.exit == 0 and last
        self.halted_at = self.heard >= wanted.count

    def _fault(self) -> apsw.Error | None:
        if self.world.steps not in self.faulty:
            return None
        self.broken_at = True
        return self.chance.choice((apsw.FullError, apsw.IOError))("simulated")

    def _end_of_the_process(self, held: RunLock) -> None:
        """The coordinator is gone: killed alone, with its helpers, or because the power has failed."""
        world, how = self.world, self.chance.choice(("alone", "alone", "helpers", "power"))
        if not world.dead:  # it left by itself, because of an error
            how = "alone"
        restore = FILES[-1].crash(self.chance, power=how == "power")
        backends, world.backends = list(self.open_backends), []
        if how == "alone":
            self._helpers_leave(backends)
        elif how == "power":
            world.kill_all()
        held.close()
        restore()
        world.dead, world.crash_at = False, None
        if how == "alone" and not self.helper_lost:
            self._check_repeated()

    def _helpers_leave(self, backends: list[SimulatedBackend]) -> None:
        """They kill what runs, a part of which ends by itself before, and write down what had ended."""
        for copy in list(self.world.alive.values()):
            if self.chance.random() < 0.2:
                self._end(copy, backends, ("exit", copy.will))
        for backend in backends:
            outputs = self.run.stages[backend.stage - 1].outputs
            for helper, ends in backend.memory.items():
                if ends:
                    late.write(os.fsencode(outputs), helper, ends)
        self.world.kill_all()

    def _end(self, copy: Copy, backends: list[SimulatedBackend], how: tuple[str, int]) -> None:
        self.world.end(copy, how)
        for backend in backends:
            if backend.stage == copy.key[0]:
                backend.has_ended(copy)

    # -- promises --------------------------------------------------------------------------------------------------------

    def _may_begin(self, copy: Copy) -> None:
        """Never two copies at once, nothing that is not in the journal, nothing that is done, nothing after the end was decided."""
        stage, job, _ = copy.key
        if any(other[:2] == (stage, job) for other in self.world.alive):
            raise Broken(f"two copies of job {job} at once")
        if not self._committed(copy.key):
            raise Broken(f"job {job} begins, and its intent is not in the journal")
        done = [key for key, status in self.told.items() if key[:2] == (stage, job) and status is Status.OK]
        if done:
            raise Broken(f"job {job} was done, and begins again")
        if "halt" not in UNFIXED and (self.halted_at or (self.scenario.halt != "never" and self._lie_ready(stage))):
            raise Broken(f"job {job} begins although the halt rule was met, or more jobs lie ready than there are slots")
        if self.broken_at and "recall" not in UNFIXED:
            raise Broken(f"job {job} begins after the journal could not be written")

    def _lie_ready(self, stage: int) -> bool:
        return any(one.stage == stage and one.ready > self.scenario.jobs for one in self.open_backends)

    def _committed(self, key: Key) -> bool:
        stage = key[0]
        if stage not in self.readers:
            self.readers[stage] = FILES[-1].connect(self.run.stages[stage - 1].path / "journal.db", False)
        query = self.readers[stage].execute("SELECT 1 FROM began WHERE job = ? AND attempt = ?", key[1:])
        return list(query) != []

    def _see(self, event: Event) -> None:
        """What is told is in the journal, and true."""
        if not isinstance(event, Finished):
            return
        outcome = event.outcome
        key = (event.stage, outcome.attempt.job.number, outcome.attempt.number)
        if key in self.told:
            raise Broken(f"the end of {key} is told twice")
        self.told[key] = outcome.status
        self._check_true(key, outcome)

    def _check_true(self, key: Key, outcome: Outcome) -> None:
        copy = self.world.copies.get(key)
        end = copy.end if copy else None
        fits = {
            Status.OK: end == ("exit", 0),
            Status.FAILED: end is not None and end != ("exit", 0),
            Status.TIMEOUT: copy is not None and self._is_late(copy, outcome),
            Status.CANCELLED: copy is None or end is not None,
            Status.LOST: True,
        }  # fmt: skip
        if not fits[outcome.status]:
            raise Broken(f"{key} is recorded as {outcome}, and was {copy}")

    def _is_late(self, copy: Copy, outcome: Outcome) -> bool:
        if outcome.exit is None and outcome.signal is None and "unknown" in UNFIXED:
            return True
        return copy.end is not None and copy.ended - copy.began >= (self.scenario.timeout or 0)

    def _rows(self) -> dict[Key, Outcome]:
        """Everything that the journals hold, read by SQLite itself."""
        found: dict[Key, Outcome] = {}
        for stage, run in enumerate(self.run.stages, 1):
            with closing(Journal.open(run.path / "journal.db")) as journal:
                for record in journal.records():
                    last = [record.outcome] if record.outcome else []
                    for outcome in last if record.attempt == 1 else journal.attempts(record.job.number):
                        found[stage, record.job.number, outcome.attempt.number] = outcome
        return found

    def _check_records(self) -> None:
        """What was told is there, unchanged; nothing else is but the truth."""
        rows = self._rows()
        for key, status in self.told.items():
            if key not in rows or rows[key].status is not status:
                raise Broken(f"{key} was told as {status}, and the journal has {rows.get(key)}")
        for key, outcome in rows.items():
            self._check_true(key, outcome)

    def _check_repeated(self) -> None:
        """At most as many jobs as there are slots have run, or have been cut off, of which the journal and helpers know no end."""
        rows = self._rows()
        known = set(rows)
        for stage, run in enumerate(self.run.stages, 1):
            known |= {(stage, end.job, end.attempt) for end in late.read(run.outputs)}
            unknown = [
                copy for key, copy in self.world.copies.items()
                if key[0] == stage and copy.execution == self.world.execution and key not in known
            ]  # fmt: skip
            if len(unknown) > self.scenario.jobs:
                raise Broken(f"{len(unknown)} jobs have to be repeated after one crash, on {self.scenario.jobs} slots")

    def _done(self) -> int:
        with (
            suppress(JournalError, sqlite3.Error),
            closing(Journals.open(Run(self.run.id, self.run.path, self.run.asked))) as journals,
        ):
            return sum(journals.tally().counts.values())
        return 0

    def _check_summary(self, summary: Summary, done_before: int) -> bool:
        """The counts add up, something was done, and what is said to be complete is."""
        with closing(Journals.open(Run(self.run.id, self.run.path, self.run.asked))) as journals:
            tally = journals.tally()
        if tally.counts != {key: number for key, number in summary.counts.items() if number}:
            raise Broken(f"told {summary.counts}, recorded {tally.counts}")
        if tally.left != summary.left:
            raise Broken(f"told that {summary.left} are left, recorded {tally.left}")
        complete = not summary.left and not summary.unread
        if (
            not complete
            and not summary.halted
            and not self.helper_lost
            and sum(tally.counts.values()) <= done_before
            and self._can_go_further(summary)
        ):
            raise Broken("nothing is done any more")
        if complete:
            self._check_complete(tally.counts)
        return complete

    def _can_go_further(self, summary: Summary) -> bool:
        return bool(summary.left)

    def _check_complete(self, counts: dict[Status, int]) -> None:
        if sum(counts.values()) != len(self.names):
            raise Broken(f"complete with {sum(counts.values())} of {len(self.names)} inputs")
        rows = self._rows()
        last = {}
        for (stage, job, attempt), outcome in sorted(rows.items()):
            last[job] = (stage, attempt, outcome)
        for job, (stage, attempt, outcome) in last.items():
            copy = self.world.copies.get((stage, job, attempt))
            if outcome.status in LEFT or copy is None:
                raise Broken(f"complete, but job {job} is {outcome.status}")


def simulate(seed: int, prepare: Callable[[Simulation], None] | None = None) -> Simulation:
    """Simulate one seed; raises whatever shows that a promise was not kept."""
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        simulation = Simulation(seed, Path(folder) / "state")
        defaults: dict[str, int] = in_order.__kwdefaults__  # type: ignore[assignment]  # it has one
        hold = defaults["hold"]
        if "order" not in UNFIXED:
            defaults["hold"] = simulation.scenario.hold
        try:
            if prepare:
                prepare(simulation)
            simulation.go()
        finally:
            defaults["hold"] = hold
            FILES.clear()
    return simulation
