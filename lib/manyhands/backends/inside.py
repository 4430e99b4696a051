"""A job that is done inside this process: called, timed, and what it printed collected. For `serial` and `threads`."""

from __future__ import annotations

import resource
import time
from typing import Final

from manyhands.backend import Ended
from manyhands.backends.performing import Performer
from manyhands.backends.printing import CURRENT, Printing
from manyhands.backends.slot import Slot
from manyhands.job import Attempt

_MINE: Final = getattr(resource, "RUSAGE_THREAD", None)  # Linux: getrusage(2)


def cpu_seconds() -> tuple[float, float]:
    """(user, system) of this thread so far; where they cannot be told apart all is user time."""
    if _MINE is None:
        return time.thread_time(), 0.0
    usage = resource.getrusage(_MINE)
    return usage.ru_utime, usage.ru_stime


def perform_inside(attempt: Attempt, performer: Performer, slot: Slot, at: float, cap: int | None) -> Ended:
    """Do it in this thread. Memory is not told: it cannot be told apart from that of the other jobs."""
    name = b"%d.%d" % (attempt.job.number, attempt.number)
    printing = Printing(slot)
    started = time.time()
    token = CURRENT.set(printing)
    user, system = cpu_seconds()
    try:
        done = performer.perform(name, attempt.job.values)
    finally:
        CURRENT.reset(token)
    now = time.monotonic()
    used = cpu_seconds()
    out, err = printing.collect(name, cap)
    return Ended(
        attempt, now, done.exit, None, done.error, True, started, now - at, used[0] - user, used[1] - system, 0, out, err,
        slot.number, result=done.result, traceback=done.traceback,
    )  # fmt: skip
