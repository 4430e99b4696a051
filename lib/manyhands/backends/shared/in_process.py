"""Does a job inside this process: calls the function, times it, and collects its output. For `serial` and `threads`."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Final, Protocol

from manyhands.backends.protocol import Ended
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.call_function import CallResult, Performer, broken, generation
from manyhands.backends.shared.job_printing import CURRENT, Collected, Printing, Switched
from manyhands.backends.shared.slot import WIDE, Slot
from manyhands.backends.shared.standard_streams import Streams
from manyhands.backends.shared.suspension import Suspension
from manyhands.core.job import Attempt

_MINE: Final = getattr(resource, "RUSAGE_THREAD", None)  # Linux: getrusage(2)


class Doer(Protocol):
    """Does the jobs of one slot, in the thread that made it."""

    def perform(self, attempt: Attempt, at: float) -> Ended:
        """Do one job, which began at ``at`` of the monotonic clock."""
        ...

    def close(self) -> None:
        """Release what it holds: there are no more jobs."""


def performed(doer: Doer, attempt: Attempt, at: float) -> Ended:
    """Do one job; an error outside of the call is its ending, too, because the engine waits for one."""
    try:
        return doer.perform(attempt, at)
    except BaseException as error:
        return broken(attempt, at, error)


class Inside:
    """Does the jobs of one slot, in the thread that made it. Raises UsageError or ManyhandsError if it cannot prepare."""

    def __init__(self, settings: FunctionSettings, switched: Switched, suspension: Suspension, number: int) -> None:
        self._suspension = suspension
        with switched.aside():
            self._performer = Performer(settings.call, settings.columns, settings.outputs)
            settings.call.prepare()
        self._cap = settings.output_cap
        self._slot = Slot(number, bytes(settings.outputs), memory=settings.slots > WIDE)
        self._streams, self._here = Streams(), generation()

    def perform(self, attempt: Attempt, at: float) -> Ended:
        """Do one job. Its memory is not reported, because it cannot be separated from that of other jobs."""
        name = attempt.name
        printing = Printing(self._slot)
        watch = Stopwatch(attempt, at, self._slot.number, self._suspension)
        self._streams.hold()
        token = CURRENT.set(printing)
        try:
            done = self._performer.perform(name, attempt.job.values)
        finally:
            CURRENT.reset(token)
            self._streams.release()
        return watch.ended(done, lambda: printing.collect(name, self._cap))

    def close(self) -> None:
        """Remove the slot's files, unless we are a fork of the process that they belong to."""
        self._streams.close()
        if generation() == self._here:
            self._slot.close()


class Stopwatch:
    """Times an attempt in the thread that does it; ``at`` is when it began, in seconds of the monotonic clock."""

    def __init__(self, attempt: Attempt, at: float, slot: int, suspension: Suspension) -> None:
        self._attempt, self._at, self._slot, self._suspension = attempt, at, slot, suspension
        self._started, self._before = time.time(), cpu_seconds()

    def ended(self, done: CallResult, collect: Callable[[], Collected]) -> Ended:
        """Stop the watch; the output is collected after that, so it does not count."""
        now, used = time.monotonic() - self._suspension.since(self._at), cpu_seconds()
        printed = collect()
        cpu = used[0] - self._before[0], used[1] - self._before[1]
        return Ended(self._attempt, now, printed.ending(done, self._started, now - self._at, self._slot, cpu))


def cpu_seconds() -> tuple[float, float]:
    """(user, system) of this thread so far; if the system does not separate them, all counts as user time."""
    if _MINE is None:
        return time.thread_time(), 0.0
    usage = resource.getrusage(_MINE)
    return usage.ru_utime, usage.ru_stime
