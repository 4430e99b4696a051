"""Reads results from the journal that came too early, in ordered output, to be held in memory.

Separate from `manyhands.engine.order`, which does not know the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from manyhands.core.events import Finished
from manyhands.storage.journal import Journal
from manyhands.work.work import BoundWork


def recall_from(journal: Journal, renderer: BoundWork) -> Callable[[int], Finished | None]:
    """A function that reads the final result of a job by its number, with the arguments it was run with; None if there is none."""

    def recall(number: int) -> Finished | None:
        record = journal.record(number)
        if record is None or record.outcome is None or not record.outcome.final:
            return None
        attempt = record.outcome.attempt._replace(argv=renderer.argv(record.job.values, number))
        return Finished(record.outcome._replace(attempt=attempt))

    return recall
