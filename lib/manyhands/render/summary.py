"""The words for what happened: one job's end, one line for a whole run, a duration, a number."""

from __future__ import annotations

import signal

from manyhands.events import Summary
from manyhands.job import Outcome, Status

_ORDER = (Status.OK, Status.FAILED, Status.TIMEOUT, Status.SKIPPED)
_NAMES = {Status.TIMEOUT: "timed out"}


def duration(seconds: float) -> str:
    """``0.3 s``, ``12.1 s``, ``2 min 05 s``, ``1 h 02 min``, ``3 d 04 h``."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, big, small in ((60, "min", "s"), (3600, "h", "min"), (86400, "d", "h")):
        if whole < unit * (60 if unit == 60 else 24 if unit == 3600 else 10**9):
            below = unit // (60 if unit <= 3600 else 24)
            return f"{whole // unit} {big} {whole % unit // below:02d} {small}"
    raise AssertionError("every number of seconds is covered")


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def describe(outcome: Outcome) -> str:
    """How one attempt ended, as the end of the sentence "job 5 ..."."""
    if outcome.status is Status.TIMEOUT:
        still = "; it could not be stopped and is still running" if outcome.still_running else ""
        return f"timed out after {duration(outcome.wall)}{still}"
    if outcome.status is Status.CANCELLED:
        return "was stopped" if outcome.started else "was not begun"
    if outcome.error:
        return outcome.error
    if outcome.signal is not None:
        return f"was ended by {signal_name(outcome.signal)}"
    return "is ok" if outcome.exit == 0 else f"failed with exit status {outcome.exit}"


def counts(summary: Summary) -> str:
    """``1,997 ok, 3 failed, 5 left``."""
    found = [(summary.counts.get(status, 0), _NAMES.get(status, status.value)) for status in _ORDER]
    parts = [f"{number:,} {name}" for number, name in found if number or name == "ok"]
    if summary.left:
        parts.append(f"{summary.left:,} left")
    return ", ".join(parts)


def summary_line(summary: Summary, *, program: str, again: str) -> str:
    """What a run came to, in one line, with what to type next.

    ``2,000 jobs: 1,997 ok, 3 failed in 12.1 s (41.2 s of work, 3.4x); again: invoke batch.retry 7f3a``
    """
    jobs = summary.jobs + summary.left
    line = f"{jobs:,} job{'' if jobs == 1 else 's'}: {counts(summary)} in {duration(summary.wall)}"
    if summary.work and summary.wall:
        line += f" ({duration(summary.work)} of work, {summary.work / summary.wall:.1f}x)"
    if summary.stopped_by is not None:
        line += f"; stopped by {signal_name(summary.stopped_by)}"
    elif summary.halted:
        line += f"; halted by {summary.halted}"
    if summary.left or summary.unread:
        line += f"; the rest: {program} batch.resume {again}"
    elif any(count for status, count in summary.counts.items() if status is not Status.OK):
        line += f"; again: {program} batch.retry {again}"
    return line
