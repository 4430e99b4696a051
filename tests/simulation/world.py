"""Time, helpers and jobs: what really happens, which the program under test only hears of, late or never.

Every job that begins and ends is noted in the ledger at once. The promises are looked at there, never in what is reported.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from random import Random

from manyhands.backend import Ended, Report, Started
from manyhands.backends import late
from manyhands.job import Attempt

Key = tuple[int, int, int]
"""(stage, job, attempt)."""


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
        self.steps = 0
        self.crash_at: int | None = None
        self.dead = False
        self.broken: Broken | None = None
        self.failing = 0.3
        self.stubborn = 0.1
        self.lateness = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.backends: list[SimulatedBackend] = []
        self.opening: set[int] = set()
        """Stages that have no backend yet: until they have, time stands still."""

    def step(self, _: str = "") -> None:
        """One operation of the coordinator; the last one before it is killed raises Crash."""
        self.steps += 1
        if self.dead or (self.crash_at is not None and self.steps >= self.crash_at):
            self.dead = True
            raise Crash

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a moment."""
        self._order += 1
        heapq.heappush(self._due, (when, self._order, action))

    def advance(self, wish: float | None) -> None:
        """Move on to the next thing that happens, at the latest to ``wish``."""
        if self._due and (wish is None or self._due[0][0] <= wish):
            when, _, action = heapq.heappop(self._due)
            self.now = max(self.now, when)
            action()
        elif wish is not None:
            self.now = max(self.now + 1e-9, wish)
        else:
            self.broken, self.dead = Broken("the engine would wait for ever"), True
            raise self.broken

    # -- jobs ------------------------------------------------------------------------------------------------------------

    def begin(self, attempt: Attempt, stage: int, helper: int, slot: int) -> Copy:
        """A job begins."""
        key = (stage, attempt.job.number, attempt.number)
        copy = Copy(
            attempt, key, self.execution, helper, slot, self.now, self.chance.random() >= self.stubborn,
            int(self.chance.random() < self.failing),
        )  # fmt: skip
        try:
            self.may_begin(copy)
        except Broken as error:  # whoever is below must not go on after it
            self.broken, self.dead = error, True
            raise
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


class SimulatedBackend:
    """A `manyhands.backend.Backend` of one stage, with helpers that start the jobs, and whose reports may come late."""

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
        self._ready: list[tuple[float, Report]] = []
        self._woken = False
        self.heard: Callable[[Ended], None] = lambda _: None
        self.memory: dict[int, list[late.Late]] = {number: [] for number in range(helpers)}
        self.idle: float | None = -1.0
        """Until when it has nothing to do (None: until something happens); below 0 while it is not waiting."""
        world.backends.append(self)
        world.opening.discard(stage)

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Lay it ready; free helpers take it at once, or in a moment."""
        self._world.step("start")
        self._waiting.append(attempt)
        self._world.at(self._world.now, self._begin)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has come; else let the world go on, if all others wait, too."""
        world = self._world
        world.step("reports")
        if not self._woken and not self._arrived():
            self.idle = None if timeout is None else world.now + timeout
            if not world.opening and all(one.idle is None or one.idle >= 0 for one in world.backends):
                wishes = [one.idle for one in world.backends if one.idle is not None]
                world.advance(min(wishes) if wishes else None)
                for one in world.backends:
                    one.idle = -1.0
        self._woken = False
        arrived = self._arrived()
        if arrived and world.chance.random() < 0.5:  # some of it now, the rest later
            arrived = arrived[: world.chance.randint(1, len(arrived))]
        for told in arrived:
            self._ready.remove(told)
        reports = [report for _, report in arrived]
        for report in reports:
            if isinstance(report, Started | Ended) and (copy := self._copy(report.attempt)):
                copy.heard_of = True
                copy.told = copy.told or isinstance(report, Ended)
            if isinstance(report, Ended):
                self.heard(report)
        return reports

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Give back what waits."""
        self._world.step("recall")
        for attempt in [one for one in self._waiting if one in attempts]:
            self._waiting.remove(attempt)
            self._ready.append((self._world.now, Ended(attempt, self._world.now, began=False)))

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """End them: at once what obeys, after the grace what does not."""
        self.recall(attempts)
        world = self._world
        for attempt in attempts:
            copy = self._running.get((self._stage, attempt.job.number, attempt.number))
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
        return len(self._waiting) + len(self._running) + sum(isinstance(one, Ended) for _, one in self._ready)

    # -- what happens ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        while self._free and self._waiting and self in self._world.backends:
            attempt, (helper, slot) = self._waiting.pop(0), self._free.pop()
            copy = self._world.begin(attempt, self._stage, helper, slot)
            self._running[copy.key] = copy
            self._ready.append((self._later(), Started(attempt, self._world.now, slot)))

    def has_ended(self, copy: Copy) -> None:
        """One of ours is over: its helper remembers it, and reports it after its beginning."""
        if self._running.pop(copy.key, None) is None or copy.end is None:
            return
        self._free.append((copy.helper, copy.slot))
        kind, number = copy.end
        code, signal = (number, None) if kind == "exit" else (None, number)
        wall = copy.ended - copy.began
        self.memory[copy.helper].append(_late(copy, code, signal, wall))
        before = max((when for when, one in self._ready if _is_of(one, copy.attempt)), default=0.0)
        report = Ended(copy.attempt, copy.ended, code, signal, wall=wall, started=copy.began, slot=copy.slot)
        self._ready.append((max(before, self._later()), report))
        self._world.at(self._world.now, self._begin)

    def lose_helper(self, helper: int) -> None:
        """A helper dies with what it runs; nobody learns how that ended, or what it had not yet reported."""
        world = self._world
        self._ready = [(when, one) for when, one in self._ready if not self._is_by(one, helper)]
        for copy in [one for one in world.copies.values() if one.key[0] == self._stage and one.helper == helper]:
            if copy.execution != world.execution or copy.told:
                continue
            if self._running.pop(copy.key, None) is not None:
                self._free.append((copy.helper, copy.slot))
                world.end(copy, ("signal", 9))
            copy.told = True
            if not copy.heard_of:
                self._ready.append((world.now, Started(copy.attempt, copy.began, copy.slot)))
            self._ready.append(
                (world.now, Ended(copy.attempt, world.now, wall=world.now - copy.began, error="helper died"))
            )
        self.memory[helper] = []
        world.at(world.now, self._begin)

    def _is_by(self, report: Report, helper: int) -> bool:
        copy = None if not isinstance(report, Started | Ended) else self._copy(report.attempt)
        return copy is not None and copy.helper == helper and not copy.told

    def _later(self) -> float:
        world = self._world
        when = world.now + (world.chance.random() * world.lateness if world.lateness else 0.0)
        world.at(when, lambda: None)
        return when

    def _arrived(self) -> list[tuple[float, Report]]:
        return [one for one in self._ready if one[0] <= self._world.now]

    def _copy(self, attempt: Attempt) -> Copy | None:
        return self._world.copies.get((self._stage, attempt.job.number, attempt.number))


def _is_of(report: Report, attempt: Attempt) -> bool:
    return isinstance(report, Started | Ended) and report.attempt is attempt


def _late(copy: Copy, code: int | None, signal: int | None, wall: float) -> late.Late:
    nothing = (b"", None, 0, 0)
    return late.Late(
        copy.key[1], copy.key[2], code, signal, None, True, copy.began, wall, 0.0, 0.0, 0, nothing, nothing, copy.slot, 0
    )
