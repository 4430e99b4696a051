"""What earlier executions of a run have done, as far as the execution that continues it needs it.

Separate from `batch`, because a batch of several stages counts in the same way.
"""

from __future__ import annotations

from typing import Final

from manyhands.core.job import Status
from manyhands.core.limits import Halt
from manyhands.engine.outcomes import Halting
from manyhands.execution.run_inputs import Scope
from manyhands.inputs.grouping import groups_of
from manyhands.storage.journal import Tally

AGAIN: Final = (Status.FAILED, Status.TIMEOUT)
"""Status of the jobs that `manyhands.execution.batch.Batch.retry` does again."""


class Earlier:
    """The counts of a run before an execution that does ``scope``; ``group``: inputs in one job, if several; ``unseen``: jobs that are done,
    and will be reported all the same."""

    def __init__(self, scope: Scope, tally: Tally | None = None, group: int | None = None, *, unseen: int = 0) -> None:
        self._scope, self._tally, self._group = scope, tally or Tally({}, 0), group
        again = AGAIN if scope in ("failed", "both") else ()
        self._ok = self._tally.counts.get(Status.OK, 0)
        self.done: int = sum(number for status, number in self._tally.counts.items() if status not in again)
        """Jobs that are done, and will not be done again."""
        self.seen = self.done - unseen
        """Those of them that earlier executions have reported."""

    def total(self, given: int | None, kept: int | None) -> int | None:
        """Number of jobs of the run, if it is known: ``given`` inputs now, ``kept``: the number known from earlier executions."""
        given = groups_of(given, self._group)
        if self._scope == "failed":
            return kept
        if given is None or self._scope == "new":
            return given
        return max(given, kept or 0, sum(self._tally.counts.values()) + self._tally.left)

    def halting(self, rule: Halt, total: int | None) -> Halting:
        """A halt rule whose counts continue from the earlier ones."""
        return Halting(rule, total, failed=self.done - self._ok, succeeded=self._ok)
