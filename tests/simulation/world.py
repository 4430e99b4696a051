"""Time, helpers and jobs: what really happens, which the program under test only hears of, late or never.

Every job that begins and ends is noted in the ledger at once. The promises are looked at there, never in what is reported.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple, NoReturn

from manyhands.backends.protocol import Ended, Report, Started
from manyhands.backends.shared import orphan_results
from manyhands.backends.shared.measured import Measured
from manyhands.core.job import Attempt, Ending

Key = tuple[int, int, int]
"""(stage, job, attempt)."""

PATIENCE: Final = 20_000
"""Operations of the coordinator in one execution, beyond which it will never come to an end."""


class Crash(BaseException):
    """The coordinator is killed here."""


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(slots=True)
class Copy:
    """One copy of a job, as it really ran. ``end`` is ("exit", status) or ("signal", number); None while it lives."""

    attempt: Attempt
    key: Key
    execution: int
    helper: int
    slot: int
    began: float
    obeys: bool
    will: int
    end: tuple[str, int] | None = None
    ended: float = 0.0
    heard_of: bool = False
    """Whether its beginning has reached the coordinator."""
    told: bool = False
    """Whether its end has."""
    stopped: bool = False
    """Whether it was asked to end."""


class World:
    """Everything outside of the coordinator. ``may_begin`` is asked at each beginning, and raises Broken if it must not be."""

    def __init__(self, chance: Random, may_begin: Callable[[Copy], None]) -> None:
        self.chance, self.may_begin = chance, may_begin
        self.now = 0.0
        self.copies: dict[Key, Copy] = {}
        self.alive: dict[Key, Copy] = {}
        self.execution = 0
        self.steps = self.first_step = 0
        self.crash_at: int | None = None
        self.dead = False
        self.broken: Broken | None = None
        self.failing = 0.3
        self.stubborn = 0.1
        self.lateness = self.doubling = 0.0
        self.prompt = True
        """Whether a helper that is free begins at once what is handed over, or in a moment."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.backends: list[SimulatedBackend] = []
        self.opening: set[int] = set()
        """Stages that have no backend yet: until they have, time stands still."""
        self.unheard: Callable[[], bool] = lambda: False
        """Whether stages have told what nobody has listened to: until somebody has, time stands still, too."""

    def step(self, _: str = "") -> None:
        """One operation of the coordinator; the last one before it is killed raises Crash."""
        self.steps += 1
        if self.dead or (self.crash_at is not None and self.steps >= self.crash_at):
            self.dead = True
            raise Crash
        if self.steps - self.first_step > PATIENCE:
            self.fail("an execution does not come to an end")

    def fail(self, why: str) -> NoReturn:
        """A promise was not kept: nothing goes on after that."""
        self.broken, self.dead = Broken(why), True
        raise self.broken

    def begin_execution(self) -> None:
        """A coordinator is started."""
        self.execution += 1
        self.first_step, self.dead = self.steps, False
        self.backends.clear()
        self.opening.clear()
        self.unheard = lambda: False

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a moment."""
        self._order += 1
        heapq.heappush(self._due, (when, self._order, action))

    def advance(self) -> None:
        """Move on to the next thing that happens, at the latest to what one of those who wait wishes for."""
        waiting = [one for one in self.backends if one.waits]
        wishes = [one.idle for one in waiting if one.idle is not None]
        wish = min(wishes) if wishes else None
        if self._due and (wish is None or self._due[0][0] <= wish):
            when, _, action = heapq.heappop(self._due)
            self.now = max(self.now, when)
            action()
        elif wish is not None:
            self.now = max(self.now + 1e-9, wish)
        else:
            self.fail("the engine would wait for ever")
        for one in waiting:
            one.idle = -1.0

    @property
    def all_wait(self) -> bool:
        """Whether nobody has anything to do now."""
        return not self.opening and not self.unheard() and all(one.waits for one in self.backends)

    # -- jobs ------------------------------------------------------------------------------------------------------------

    def begin(self, attempt: Attempt, stage: int, helper: int, slot: int) -> Copy:
        """A job begins."""
        key = (stage, attempt.job.number, attempt.number)
        copy = Copy(
            attempt,
            key,
            self.execution,
            helper,
            slot,
            self.now,
            self.chance.random() >= self.stubborn,
            int(self.chance.random() < self.failing),
        )
        self.may_begin(copy)
        self.copies[key] = self.alive[key] = copy
        length = self.chance.choice((0.0, 0.001, 0.1, 1.0, 1.0, 5.0, 20.0))
        self.at(self.now + length, lambda: self.end(copy, ("exit", copy.will)))
        return copy

    def end(self, copy: Copy, how: tuple[str, int]) -> None:
        """A job ends, unless it has."""
        if copy.end is None:
            copy.end, copy.ended = how, self.now
            del self.alive[copy.key]
            for backend in self.backends:
                backend.has_ended(copy)

    def kill_all(self) -> int:
        """End whatever is alive; how many there were."""
        living = list(self.alive.values())
        for copy in living:
            self.end(copy, ("signal", 9))
        return len(living)


class _Coming(NamedTuple):
    """A report on its way; an ``echo`` has been received before, or comes after the end of its helper was noticed."""

    when: float
    report: Report
    echo: bool = False


class SimulatedBackend:
    """A `manyhands.backends.protocol.Backend` of one stage, with helpers that start the jobs, and whose reports may come late."""

    name = "simulated"
    reports_start = True
    can_stop = True

    def __init__(self, world: World, stage: int, slots: int, ahead: int, helpers: int, grace: float) -> None:
        self.ahead = ahead
        self._world, self._stage, self._grace = world, stage, grace
        self.stage = stage
        self._free = [(number % helpers, number) for number in range(slots, 0, -1)]
        self._waiting: list[Attempt] = []
        self._running: dict[Key, Copy] = {}
        self._coming: list[_Coming] = []
        self._hands: set[Key] = set()
        self._woken = False
        self.heard: Callable[[Ended], None] = lambda _: None
        self.memory: dict[int, list[orphan_results.OrphanResult]] = {number: [] for number in range(helpers)}
        self.idle: float | None = -1.0
        """Until when it has nothing to do (None: until something happens); below 0 while it is not waiting."""
        world.backends.append(self)
        world.opening.discard(stage)

    # -- the verbs -------------------------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether it is waiting for something to happen."""
        return (self.idle is None or self.idle >= 0) and not self._arrived()

    def start(self, attempt: Attempt) -> None:
        """Lay it ready; free helpers take it at once, or in a moment."""
        world = self._world
        world.step("start")
        self._waiting.append(attempt)
        self._hands.add(self._key(attempt))
        if world.prompt:
            self._begin()
        else:
            world.at(world.now + world.chance.choice((0.0, 0.001)), self._begin)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has come; else let the world go on, if all others wait, too."""
        world = self._world
        world.step("reports")
        if not self._woken and timeout != 0 and not self._arrived():
            again = self.waits  # nobody else has gone on since the last call: it is not stepped
            self.idle = None if timeout is None else world.now + timeout
            if again or world.all_wait:
                world.advance()
        self._woken = False
        arrived = self._arrived()
        if arrived:
            self.idle = -1.0
            if world.chance.random() < 0.5:  # some of it now, the rest later
                arrived = arrived[: world.chance.randint(1, len(arrived))]
        for one in arrived:
            self._receive(one)
        return [one.report for one in arrived]

    def _receive(self, coming: _Coming) -> None:
        self._coming.remove(coming)
        report = coming.report
        if coming.echo or not isinstance(report, Started | Ended):
            return
        if self._world.chance.random() < self._world.doubling:
            self._come(report, self._world.now + 5 * self._world.chance.random(), echo=True)
        if copy := self._copy(report.attempt):
            copy.heard_of = True
            copy.told = copy.told or isinstance(report, Ended)
        if isinstance(report, Ended):
            self._hands.discard(self._key(report.attempt))
            self.heard(report)

    def _come(self, report: Report, when: float, *, echo: bool = False) -> None:
        self._coming.append(_Coming(when, report, echo))
        if when > self._world.now:
            self._world.at(when, lambda: None)

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Give back what waits."""
        self._world.step("recall")
        for attempt in [one for one in self._waiting if one in attempts]:
            self._waiting.remove(attempt)
            self._come(Ended(attempt, self._world.now, began=False), self._world.now)

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """End them: at once what obeys, after the grace what does not."""
        self.recall(attempts)
        world = self._world
        for attempt in attempts:
            copy = self._running.get(self._key(attempt))
            if copy is not None and copy.end is None:
                copy.stopped = True
                wait, number = (0.0, 9) if kill else (0.01, 15) if copy.obeys else (self._grace, 9)
                world.at(world.now + wait, lambda one=copy, n=number: world.end(one, ("signal", n)))  # type: ignore[misc]

    def pause(self, paused: bool) -> None:
        """Nobody pauses here."""

    def wake(self) -> None:
        """Make the next `reports` return."""
        self._woken = True
        self.idle = -1.0

    def close(self) -> None:
        """End what runs."""
        if self in self._world.backends and not self._world.dead:
            for copy in list(self._running.values()):
                self._world.end(copy, ("signal", 9))
            self._world.backends.remove(self)

    @property
    def ready(self) -> int:
        """Attempts in hand whose end has not been received."""
        return len(self._hands)

    # -- what happens ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        while self._free and self._waiting and self in self._world.backends:
            attempt, (helper, slot) = self._waiting.pop(0), self._free.pop()
            copy = self._world.begin(attempt, self._stage, helper, slot)
            self._running[copy.key] = copy
            self._come(Started(attempt, self._world.now, slot), self._later())

    def has_ended(self, copy: Copy) -> None:
        """One of ours is over: its helper remembers it, and reports it after its beginning."""
        if self._running.pop(copy.key, None) is None or copy.end is None:
            return
        self._free.append((copy.helper, copy.slot))
        kind, number = copy.end
        code, signal = (number, None) if kind == "exit" else (None, number)
        wall = copy.ended - copy.began
        self.memory[copy.helper].append(_late(copy, code, signal, wall))
        before = max((one.when for one in self._coming if _is_of(one, copy.attempt)), default=0.0)
        report = Ended(copy.attempt, copy.ended, Ending(code, signal, started=copy.began, wall=wall, slot=copy.slot))
        self._come(report, max(before, self._later()))
        self._begin()

    def lose_helper(self, helper: int) -> None:
        """A helper dies with what it runs; nobody learns how that ended, or what it had not yet reported."""
        world = self._world
        self._drop_reports(helper)
        for copy in [one for one in world.copies.values() if one.key[0] == self._stage and one.helper == helper]:
            if copy.execution != world.execution or copy.told:
                continue
            if self._running.pop(copy.key, None) is not None:
                self._free.append((copy.helper, copy.slot))
                world.end(copy, ("signal", 9))
            copy.told = True
            if not copy.heard_of:
                self._come(Started(copy.attempt, copy.began, copy.slot), world.now)
            end = Ended(copy.attempt, world.now, Ending(error="helper died", wall=world.now - copy.began))
            self._come(end, world.now)
        self.memory[helper] = []
        self._begin()

    def _drop_reports(self, helper: int) -> None:
        """What it had reported is gone, or comes when nobody expects it any more."""
        for one in [one for one in self._coming if not one.echo and self._is_by(one.report, helper)]:
            self._coming.remove(one)
            if self._world.chance.random() < self._world.doubling:
                self._come(one.report, self._world.now + 5 * self._world.chance.random(), echo=True)

    def _is_by(self, report: Report, helper: int) -> bool:
        copy = None if not isinstance(report, Started | Ended) else self._copy(report.attempt)
        return copy is not None and copy.helper == helper and not copy.told

    def _later(self) -> float:
        world = self._world
        return world.now + (world.chance.random() * world.lateness if world.lateness else 0.0)

    def _arrived(self) -> list[_Coming]:
        return [one for one in self._coming if one.when <= self._world.now]

    def _key(self, attempt: Attempt) -> Key:
        return self._stage, attempt.job.number, attempt.number

    def _copy(self, attempt: Attempt) -> Copy | None:
        return self._world.copies.get(self._key(attempt))


def _is_of(coming: _Coming, attempt: Attempt) -> bool:
    report = coming.report
    return not coming.echo and isinstance(report, Started | Ended) and report.attempt is attempt


def _late(copy: Copy, code: int | None, signal: int | None, wall: float) -> orphan_results.OrphanResult:
    measured = Measured(code, signal, None, copy.began, wall, slot=copy.slot)
    return orphan_results.OrphanResult(copy.key[1], copy.key[2], True, measured)
