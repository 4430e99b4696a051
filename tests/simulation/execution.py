"""One execution of a run in the simulated world: the real batch or line, with its disk, helpers and threads replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from manyhands.backends.protocol import Backend
from manyhands.core.events import Event, Warned
from manyhands.execution.batch import Batch
from manyhands.execution.recovery import take_over
from manyhands.execution.staged import StagedBatch
from manyhands.inputs.sources import Source
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Run
from simulation.files import Files, SimulatedDisk
from simulation.inputs import Pipe
from simulation.world import World


class SimulatedRun(Run):
    """A run whose journals are on the simulated disk."""

    files: Files

    def journal(self, *, check: bool = False) -> Journal:
        return Journal.open(self.path / "journal.db", check=check, connect=FILES[-1].connect)


FILES: list[Files] = []
"""The disk of the execution that is simulated now."""


class SimulatedBatch(Batch):
    """A batch, or a stage of a line, in ``world``, whose backends are made by ``backend(stage)``."""

    world: World
    backend: Callable[[int], Backend]
    pipe: Pipe | None = None

    def _open_backend(self, source: Source) -> Backend:
        return self.backend(self._context.number if self._context else 1)

    def take_over(self, journal: Journal) -> Iterator[Event]:
        if self.scope != "new" and not self._taken:
            self._taken = True
            take_over(self.run, self.plan, journal, lambda _: self.world.kill_all())
        yield Warned("taken over")

    def _open_source(self, journal: Journal, stack: ExitStack) -> Source:
        if self.pipe is None or (self._context and self._context.number > 1):
            return super()._open_source(journal, stack)
        journal.follow(self.pipe.kept)
        self.pipe.keep_in(self.run.path, SimulatedDisk(FILES[-1]))
        return self.pipe


class SimulatedLine(StagedBatch):
    """A line whose stages are stepped in turn, as the seed says, instead of running in threads."""

    world: World
    batch = SimulatedBatch

    def _begin(self, stack: ExitStack) -> None:
        self._running = {stage.number: self._steps(stage) for stage in self.stages}
        self.world.opening.update(self._running)
        self.world.unheard = lambda: not self._events.empty()
        for steps in self._running.values():
            stack.callback(steps.close)

    def _next(
        self, tick: float | None, before_waiting: Callable[[], None]
    ) -> tuple[int, list[Event] | BaseException | None]:
        while self._events.empty():
            number = self._choose()
            if next(self._running[number], number):  # it has ended
                del self._running[number]
                self.world.opening.discard(number)
        return self._events.get_nowait()

    def _choose(self) -> int:
        """The stage that goes on: one that does not wait for the time to go on, if there is one."""
        if not self.opened.is_set():
            return 1
        waiting = {one.stage for one in self.world.backends if one.waits}
        return self.world.chance.choice([n for n in self._running if n not in waiting] or list(self._running))
