"""What an end means: which status it gets, and when enough has failed or succeeded.

Pure functions of what was reported and asked, so that every rule can be tested without running anything.
"""

from __future__ import annotations

from typing import Final

from manyhands.backends.protocol import Ended
from manyhands.core.job import Outcome, Status
from manyhands.core.limits import Halt, RetryOn

RETRIED: Final = frozenset({Status.FAILED, Status.TIMEOUT, Status.LOST})
"""What is tried again while tries are left."""

LEFT: Final = frozenset({Status.CANCELLED, Status.LOST})
"""What still has to be done when a run is resumed."""

COUNTED: Final = frozenset({Status.OK, Status.FAILED})
"""Whose wall time counts for a relative timeout."""


def judge(report: Ended, asked: float | None, why: Status) -> Outcome:
    """The outcome of an attempt that was asked to end at moment ``asked`` because of ``why`` (None: never asked).

    What ended by itself before it was asked is judged by its own status, even if we only hear of it later; so is a function that
    returned all the same when it was only to be cancelled. What has no status may have ended before it was asked: it is lost.
    """
    end = report.ending
    if why is Status.CANCELLED and end.exit == 0 and end.result is not None:
        asked = None
    unknown = end.exit is None and end.signal is None
    if not report.began:
        status = Status.FAILED if end.error else Status.CANCELLED
    elif asked is not None and report.at >= asked and not (unknown and not end.still_running):
        status = why
    elif unknown:
        status = Status.LOST
    else:
        status = Status.OK if end.exit == 0 else Status.FAILED
    return Outcome(report.attempt, status, end)


def given_up(outcome: Outcome, deaths: int) -> Outcome:
    """``outcome``, of a job that is not tried again because so many workers died of it."""
    why = f"{outcome.error}; given up: it has killed {deaths} workers"
    return outcome._replace(ending=outcome.ending._replace(error=why))


def may_retry(report: Ended, outcome: Outcome, rule: RetryOn | None = None) -> bool:
    """Whether another attempt could help: not of what cannot be started, nor beside one that still runs, nor where ``rule`` says
    that it would not."""
    if outcome.status not in RETRIED or not report.began or outcome.still_running:
        return False
    return rule is None or rule.covers(outcome.status, outcome.exit, outcome.signal, outcome.error)


class Halting:
    """Counts final results against a halt rule; once reached, it stays reached.

    ``failed`` and ``succeeded`` are those of earlier executions of the run: they count for a share of all jobs, while a number
    of jobs means those of this execution. The rule is only looked at when a job of this execution has ended.
    """

    def __init__(self, rule: Halt, total: int | None, *, failed: int = 0, succeeded: int = 0) -> None:
        self._rule, self._total = rule, total
        share = rule.percent is not None
        self._failed, self._succeeded = (failed, succeeded) if share else (0, 0)
        self._counted = False
        self.reached = False

    def count(self, status: Status) -> None:
        """One more job has come to its end."""
        self._counted = True
        self._succeeded += status is Status.OK
        self._failed += status is not Status.OK
        self._look()

    def know(self, total: int) -> None:
        """All inputs have been counted."""
        self._total = total
        if self._counted:
            self._look()

    def _look(self) -> None:
        done = self._failed + self._succeeded
        self.reached = self.reached or self._rule.reached(done, self._failed, self._succeeded, self._total)
