"""One simulated run: made, executed, crashed and resumed as the seed says, until it is done; every promise is checked meanwhile."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random
from signal import SIGINT
from unittest.mock import patch

import apsw

from manyhands.backends.protocol import Ended
from manyhands.backends.shared import orphan_results
from manyhands.core.errors import JournalError
from manyhands.core.events import Event, Summary
from manyhands.engine.order import in_order
from manyhands.execution.open_run import OpenRun
from manyhands.execution.run_inputs import Scope
from manyhands.storage.progress_file import Keeper
from manyhands.storage.runs import Store, lock
from manyhands.work.plan import Plan
from simulation.execution import FILES, SimulatedBatch, SimulatedLine, SimulatedRun
from simulation.files import Files, SimulatedDatabase
from simulation.inputs import Pipe
from simulation.promises import Promises
from simulation.scenario import Scenario
from simulation.world import Broken, Copy, Crash, SimulatedBackend, World

STATE = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


class Simulation:
    """One seed."""

    def __init__(self, seed: int, state: Path) -> None:
        self.chance = Random(seed)
        self.scenario = scenario = Scenario.draw(self.chance)
        self.world = world = World(self.chance, self._may_begin)
        world.failing, world.stubborn, world.lateness = scenario.failing, scenario.stubborn, scenario.lateness
        world.doubling, world.prompt = scenario.doubling, scenario.halt != "never"
        self.promises = Promises(scenario, world, self._reader)
        made, self._held = Store(state).create(scenario.plan().to_json(), "r")
        self.run = SimulatedRun(made.id, made.path, made.record)
        self._faulty: range = range(0)
        self._backends: list[SimulatedBackend] = []
        self._pipe: Pipe | None = None
        self._losses, self._stops = scenario.losses, 0

    # -- one execution after another -------------------------------------------------------------------------------------

    def go(self) -> None:
        """Execute until nothing is left. Raises Broken, or what the code under test raised that it must not raise."""
        work: Scope = "new"
        crashes, faults, stops = self.scenario.crashes, self.scenario.faults, self.scenario.stops
        again = self.scenario.piped
        for _ in range(30 + 2 * self.scenario.inputs * self.scenario.stages):
            self._faulty, self.world.crash_at = range(0), None
            if faults > 0:
                faults -= 1
                first = self._moment(20, 100, 200)
                self._faulty = range(first, first + self.chance.choice((1, 5, 10**9)))
            elif crashes > 0:
                crashes -= 1
                self.world.crash_at = self._moment(20, 100, 400)
            self._stops = self.chance.randint(0, stops)
            stops -= self._stops
            if self._execute(work, give=again):
                return
            work, self._held = "rest", lock(self.run)
            again = self.scenario.piped and self.chance.random() < 0.5
        raise Broken("it does not come to an end")

    def _moment(self, *within: int) -> int:
        """One of the next operations of the coordinator."""
        return self.world.steps + int(self.chance.choice(within) * self.chance.random()) + 1

    def _execute(self, work: Scope, *, give: bool) -> bool:
        """One execution; whether it did everything."""
        world = self.world
        world.begin_execution()
        self.promises.begin_execution()
        self._backends.clear()
        FILES[:] = [Files(world.step, self._fault)]
        batch = self._batch(work, give=give)
        for _ in range(self._stops):
            when = world.now + self.chance.choice((0.0, 1.0, 10.0)) * self.chance.random()
            world.at(when, lambda number=world.execution: self._stop(batch, number))  # type: ignore[misc]
        summary = self._carry_out(batch)
        for stage in batch.stages if isinstance(batch, SimulatedLine) else ():
            stage.batch.held.close()
        if summary is None:
            self._end_of_the_process()
            return False
        self._held.close()
        FILES[-1].leave()
        return self.promises.check_end(summary, self.run)

    def _stop(self, batch: SimulatedBatch | SimulatedLine, execution: int) -> None:
        """The user has pressed Ctrl-C; the second time he means it."""
        if execution == self.world.execution:
            self.promises.stopped = True
            batch.stop(SIGINT)

    def _batch(self, work: Scope, *, give: bool) -> SimulatedBatch | SimulatedLine:
        plan = Plan.from_json(self.run.record, {})
        opened = OpenRun(run=self.run, held=self._held, plan=plan, scope=work)
        text = "".join(f"{name}\n" for name in self.scenario.names)
        self._pipe = Pipe(text.encode(), self.world, self.chance) if give else None
        # Those of the class, because a line makes the batches of its further stages itself.
        SimulatedBatch.world, SimulatedBatch.backend = self.world, staticmethod(self._backend)
        SimulatedBatch.clock = staticmethod(lambda: self.world.now)
        batch = SimulatedLine(opened) if plan.then else SimulatedBatch(opened)
        (batch.stages[0].batch if isinstance(batch, SimulatedLine) else batch).pipe = self._pipe  # type: ignore[attr-defined]
        batch.world = self.world
        return batch

    def _carry_out(self, batch: SimulatedBatch | SimulatedLine) -> Summary | None:
        """The summary; None if the coordinator was killed, or could not write its journal."""
        world = self.world
        try:
            with closing(batch.events()) as events:
                for event in events:
                    self._see(event)
        except (Exception, Crash) as error:
            if world.broken:
                raise world.broken from None
            if world.dead:  # what it raises while it dies is nobody's business
                return None
            if not isinstance(error, JournalError) or not self._faulty:
                raise
            assert error.exit_code == 74
            return None
        return None if world.dead else batch.summary

    def _see(self, event: Event) -> None:
        try:
            self.promises.see(event, self.run)
        except Broken as error:
            self.world.fail(str(error))

    def _may_begin(self, copy: Copy) -> None:
        ready = next(one.ready for one in self._backends if one.stage == copy.key[0])
        try:
            self.promises.may_begin(copy, ready, self._pipe.durable() if self._pipe else None)
        except Broken as error:
            self.world.fail(str(error))

    # -- what is around the coordinator ----------------------------------------------------------------------------------

    def _backend(self, stage: int) -> SimulatedBackend:
        """What does the jobs of a stage."""
        scenario = self.scenario
        made = SimulatedBackend(self.world, stage, scenario.jobs, scenario.ahead, scenario.helpers, 2.0)
        made.heard = self._hear
        self._backends.append(made)
        if self._losses > 0:
            self.world.at(
                self.world.now + self.chance.choice((1, 10, 20)) * self.chance.random(), lambda: self._lose_helper(made)
            )
        return made

    def _lose_helper(self, backend: SimulatedBackend) -> None:
        if backend in self.world.backends and self._losses > 0:
            self._losses -= 1
            backend.lose_helper(self.chance.randrange(self.scenario.helpers))
            self.promises.helper_lost = True

    def _hear(self, report: Ended) -> None:
        copy = next((one for one in self.world.copies.values() if one.attempt is report.attempt), None)
        self.promises.hear(report, copy)

    def _reader(self, stage: int) -> SimulatedDatabase:
        return FILES[-1].connect(self.run.stages[stage - 1].path / "journal.db", False)

    def _fault(self, path: str) -> apsw.Error | None:
        if self.world.steps not in self._faulty:
            return None
        stages = self.run.stages
        self.promises.unrecordable |= {n for n, one in enumerate(stages, 1) if one.path == Path(path).parent}
        return self.chance.choice((apsw.FullError, apsw.IOError))("simulated")

    # -- when it is gone -------------------------------------------------------------------------------------------------

    def _end_of_the_process(self) -> None:
        """The coordinator is gone: killed alone, with its helpers, or because the power has failed."""
        world, how = self.world, self.chance.choice(("alone", "alone", "helpers", "power"))
        if not world.dead:  # it left by itself, because of an error
            how = "alone"
        restore = FILES[-1].crash(self.chance, power=how == "power")
        world.backends = []
        if how == "alone":
            self._helpers_leave()
        elif how == "power":
            world.kill_all()
        self._held.close()
        restore()
        world.dead, world.crash_at = False, None
        if how == "alone" and not self.promises.helper_lost:
            self.promises.check_repeated(self.run)

    def _helpers_leave(self) -> None:
        """They kill what runs, a part of which ends by itself before, and write down what had ended."""
        for copy in list(self.world.alive.values()):
            if self.chance.random() < 0.2:
                self._end(copy, ("exit", copy.will))
        for backend in self._backends:
            outputs = self.run.stages[backend.stage - 1].outputs
            for helper, ends in backend.memory.items():
                if ends:
                    orphan_results.write(os.fsencode(outputs), helper, ends)
        self.world.kill_all()

    def _end(self, copy: Copy, how: tuple[str, int]) -> None:
        self.world.end(copy, how)
        for backend in self._backends:
            if backend.stage == copy.key[0]:
                backend.has_ended(copy)


@contextmanager
def _holding(results: int) -> Iterator[None]:
    """Keep so many results in memory while an earlier one is missing."""
    defaults: dict[str, int] = in_order.__kwdefaults__  # type: ignore[assignment]  # it has one
    usual, defaults["hold"] = defaults["hold"], results
    try:
        yield
    finally:
        defaults["hold"] = usual


def _nobody_looks(keeper: Keeper, standing: object) -> None:
    """A plain function: a mock notes its calls."""


def _nobody() -> set[int]:
    """Whom to spare: the processes that are taken over are simulated."""
    return set()


def simulate(seed: int) -> Simulation:
    """Simulate one seed; raises whatever shows that a promise was not kept."""
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        simulation = Simulation(seed, Path(folder) / "state")
        try:
            # Nobody looks on. What is done for that each second would hide that an engine waits for ever, and takes a quarter of
            # the time; nothing depends on it.
            with (
                _holding(simulation.scenario.hold),
                patch.object(Keeper, "look", _nobody_looks),
                patch("manyhands.execution.batch.EVERY", None),
                patch("manyhands.execution.recovery._own_ancestry", _nobody),
            ):
                simulation.go()
        finally:
            FILES.clear()
            _close_what_crashes_left(folder)
    return simulation


def _close_what_crashes_left(folder: str) -> None:
    """Close the descriptors of files in ``folder``: a process that is killed loses them, and ours simulates thousands of its deaths."""
    if left := _open_in(folder):
        gc.collect()  # files that nobody holds any more close themselves
        left = _open_in(folder)
    for descriptor in left:
        os.close(descriptor)


def _open_in(folder: str) -> list[int]:
    """The descriptors of files in ``folder``."""
    found = []
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(f"{folder}/"):
                found.append(int(name))
    return found
