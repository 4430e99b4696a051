"""Results that were too far ahead of their turn to be held in memory, read from the journal when it has come.

Separate from `manyhands.engine.order`, which knows no journal.
"""

from __future__ import annotations

from collections.abc import Callable

from manyhands.core.events import Finished
from manyhands.storage.journal import Journal
from manyhands.work.work import BoundWork


def recall_from(journal: Journal, renderer: BoundWork) -> Callable[[int], Finished | None]:
    """What gives the final result of a job by its number, with the arguments that it was run with; None: it has none."""

    def recall(number: int) -> Finished | None:
        record = journal.record(number)
        if record is None or record.outcome is None or not record.outcome.final:
            return None
        attempt = record.outcome.attempt._replace(argv=renderer.argv(record.job.values, number))
        return Finished(record.outcome._replace(attempt=attempt))

    return recall
