"""Which status an attempt gets when it ends, and when enough jobs have failed or succeeded.

Pure functions of reports and requests, so that every rule can be tested without running anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from manyhands.backends.protocol import Ended
from manyhands.core.job import Outcome, Status
from manyhands.core.limits import Halt, RetryOn

RETRIED: Final = frozenset({Status.FAILED, Status.TIMEOUT, Status.LOST})
"""Statuses that are retried while attempts are left."""

LEFT: Final = frozenset({Status.CANCELLED, Status.LOST})
"""Statuses of jobs that still have to be done when a run is resumed."""

COUNTED: Final = frozenset({Status.OK, Status.FAILED})
"""Statuses of attempts whose wall time counts for a relative timeout."""


def judge(report: Ended, stop_at: float | None, why: Status) -> Outcome:
    """The outcome of an attempt; ``stop_at``: when it was asked to end (None: it was not), ``why``: its status if that ended it.

    An attempt that ended by itself before that moment gets its own status, even if its end is reported later; so does a function
    that returned a result although it was to be cancelled. An attempt without exit status may have ended before: it is lost.
    """
    end = report.ending
    if why is Status.CANCELLED and end.exit == 0 and end.result is not None:
        stop_at = None
    unknown = end.exit is None and end.signal is None
    if not report.began:
        status = Status.FAILED if end.error else Status.CANCELLED
    elif stop_at is not None and report.at >= stop_at and not (unknown and not end.still_running):
        status = why
    elif unknown:
        status = Status.LOST
    else:
        status = Status.OK if end.exit == 0 else Status.FAILED
    return Outcome(report.attempt, status, end)


def given_up(outcome: Outcome, deaths: int) -> Outcome:
    """``outcome`` of a job that is not retried because too many workers died of it."""
    why = f"{outcome.error}; given up: it has killed {deaths} workers"
    return outcome._replace(ending=outcome.ending._replace(error=why))


def may_retry(report: Ended, outcome: Outcome, rule: RetryOn | None = None) -> bool:
    """Whether another attempt could help: not if the job cannot be started, if this attempt still runs, or if ``rule`` does not
    cover it."""
    if outcome.status not in RETRIED or not report.began or outcome.still_running:
        return False
    return rule is None or rule.covers(outcome.status, outcome.exit, outcome.signal, outcome.error)


class Halting:
    """Counts final results against a halt rule; once reached, it stays reached.

    ``failed`` and ``succeeded`` are the counts of earlier executions of the run. They count for a rule that is a share of all jobs; a
    rule that is a number of jobs counts this execution only. The rule is checked only after a job of this execution has ended.
    """

    def __init__(self, rule: Halt, total: int | None, *, failed: int = 0, succeeded: int = 0) -> None:
        self._rule, self._total = rule, total
        share = rule.percent is not None
        self._failed, self._succeeded = (failed, succeeded) if share else (0, 0)
        self._counted = False
        self.reached = False

    @classmethod
    def of(cls, rule: Halt, total: int | None, counts: Mapping[Status, int]) -> Halting:
        """Another ``rule``, for a run of which so many jobs have ended."""
        halting = cls(rule, total)
        halting._succeeded = counts.get(Status.OK, 0)
        halting._failed = sum(counts.values()) - halting._succeeded
        halting._counted = bool(counts)
        halting._look()
        return halting

    def count(self, status: Status) -> None:
        """One more job has ended."""
        self._counted = True
        self._succeeded += status is Status.OK
        self._failed += status is not Status.OK
        self._look()

    def know(self, total: int) -> None:
        """The number of all jobs is known."""
        self._total = total
        if self._counted:
            self._look()

    def _look(self) -> None:
        done = self._failed + self._succeeded
        self.reached = self.reached or self._rule.reached(done, self._failed, self._succeeded, self._total)
