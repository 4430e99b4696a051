"""A backend that runs nothing: attempts end as a script says, in virtual time.

It is a real backend: the command line can choose it (``--backend fake``: every job is ok at once and prints its command). With it the
engine's tests need no processes and never sleep: they give it a script, and the engine reads its `clock`.
"""

from __future__ import annotations

import heapq
import math
import shlex
import threading
from collections.abc import Callable, Collection, Sequence

from manyhands.backends.protocol import Ended, Report, Started
from manyhands.core.job import NOTHING, Arg, Attempt, Ending, Output
from manyhands.core.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """How one attempt ends: after ``wall`` seconds, unless it is stopped."""

    wall: float = 0.0
    exit: int | None = 0
    signal: int | None = None
    error: str | None = None
    began: bool = True
    stdout: bytes = b""
    obeys: bool = True
    """Whether TERM ends it; else only KILL does."""


def echo(attempt: Attempt) -> Play:
    """The script of ``--backend fake``: an attempt is ok, and prints its command line."""
    words = (shlex.quote("".join(map(_text, arg)) if isinstance(arg, tuple) else _text(arg)) for arg in attempt.argv)
    return Play(stdout=" ".join(words).encode("utf-8", "surrogateescape") + b"\n")


def _text(arg: Arg) -> str:
    return arg.decode("utf-8", "surrogateescape") if isinstance(arg, bytes) else "{%}"


class Fake:
    """A `manyhands.backends.protocol.Backend` with virtual time: waiting advances `clock`."""

    name = "fake"
    reports_start = True

    def __init__(
        self,
        slots: int,
        script: Callable[[Attempt], Play] = echo,
        *,
        ahead: int = 0,
        can_stop: bool = True,
        patient: bool = False,
    ) -> None:
        """``patient``: if nothing is due, wait for `wake`, as other backends do; else that is an error of the caller."""
        self.ahead, self.can_stop = ahead, can_stop
        self.time = 0.0
        self.began: list[tuple[float, int, int]] = []
        """(when, job, attempt) of every attempt that has begun."""
        self.closed = False
        self._script = script
        self._free = list(range(slots, 0, -1))
        self._waiting: list[Attempt] = []
        self._running: dict[tuple[int, int], tuple[Attempt, Play, float, int]] = {}
        self._ends: list[tuple[float, tuple[int, int]]] = []
        self._ready: list[Report] = []
        self._woken = self._paused = False
        self._patient, self._rung = patient, threading.Event()

    def clock(self) -> float:
        """The current time, in virtual seconds."""
        return self.time

    def start(self, attempt: Attempt) -> None:
        """Begin at once if there is a free slot."""
        self._waiting.append(attempt)
        self._begin()

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """Advance the time to the next end, or by ``timeout``."""
        if not self._ready and not self._woken:
            due = self._ends[0][0] if self._ends and not self._paused else None
            if timeout is None and due is None:
                if not self._patient:
                    raise AssertionError("the engine would wait for ever")
                self._rung.wait()
            # At least the smallest step of a float, or rounding could keep a waiting engine at the same moment for ever.
            limit = max(self.time + timeout, math.nextafter(self.time, math.inf)) if timeout is not None else None
            if due is not None and (limit is None or due <= limit):
                self.time = max(self.time, due)
                self._end(heapq.heappop(self._ends)[1])
            elif limit is not None:
                self.time = limit
        self._woken = False
        self._rung.clear()
        ready, self._ready = self._ready, []
        return ready

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report waiting attempts as not begun."""
        for attempt in [waiting for waiting in self._waiting if waiting in attempts]:
            self._waiting.remove(attempt)
            self._ready.append(Ended(attempt, self.time, began=False))

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """End the attempts that obey TERM, or all if ``kill``."""
        self.recall(attempts)
        for attempt in attempts:
            key = attempt.id
            if key in self._running and (kill or self._running[key][1].obeys):
                self._end(key, signal=9 if kill else 15)

    def pause(self, paused: bool) -> None:
        """Let no attempt end while ``paused``."""
        self._paused = paused

    def wake(self) -> None:
        """Make the next `reports` return at once."""
        self._woken = True
        self._rung.set()

    def close(self) -> None:
        """Forget everything."""
        self.closed = True
        self._waiting.clear()
        self._running.clear()

    def _begin(self) -> None:
        while self._free and self._waiting:
            attempt = self._waiting.pop(0)
            slot, play, key = self._free.pop(), self._script(attempt), attempt.id
            self._running[key] = (attempt, play, self.time, slot)
            self.began.append((self.time, *key))
            heapq.heappush(self._ends, (self.time + play.wall, key))
            self._ready.append(Started(attempt, self.time, slot))

    def _end(self, key: tuple[int, int], signal: int | None = None) -> None:
        if key not in self._running:
            return
        attempt, play, at, slot = self._running.pop(key)
        self._free.append(slot)
        printed = Output(play.stdout, size=len(play.stdout)) if play.stdout else NOTHING
        status, number = play.exit if signal is None else None, signal or play.signal
        ending = Ending(status, number, play.error, wall=self.time - at, stdout=printed, slot=slot)
        self._ready.append(Ended(attempt, self.time, ending, play.began))
        self._begin()
