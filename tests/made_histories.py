"""Jobs with all their attempts, made by hand, as `Journals.histories` gives them."""

from __future__ import annotations

from typing import Any

from made_events import end
from manyhands.core.job import Job, Outcome, Status
from manyhands.report.attempts import Attempts
from manyhands.report.clock import Clock
from manyhands.storage.rows import JobRecord


def record(outcome: Outcome, stage: int = 1) -> JobRecord:
    """An attempt that has ended."""
    return JobRecord(outcome.attempt.job, outcome.attempt.number, outcome, stage)


def unended(number: int, tries: int = 1) -> JobRecord:
    """An attempt whose end is not known."""
    return JobRecord(Job(number, b"", (b"in%d" % number,)), tries, None)


def attempts_of(*made: tuple[float, float, Status], slots: int = 1, **more: Any) -> Attempts:
    """Attempts, each (began, seconds, status), on one slot after the other."""
    found = Attempts(at=0.0, running=lambda _: None)
    for number, (began, wall, status) in enumerate(made, 1):
        fields = {"started": began, "wall": wall, "slot": (number - 1) % slots + 1, **more}
        found.add(record(end(number, status, **fields)))
    return found


def clock_of(attempts: Attempts) -> Clock:
    """The axis of these."""
    return Clock((bar.begin, bar.end) for bar in attempts.bars())
