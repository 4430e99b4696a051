"""The journal as an engine sees it whose backend keeps things elsewhere. Most executions have none of it, so it is separate from the batch.

    engine --commit--> Settled --> journal; then the backend need not keep any longer what it has reported

Of a submitted run, which is collected, the open attempts are not lost: they go on elsewhere.

    journal --open attempts--> JobSource --given out again--> engine --began: known already--> Collection --ended--> journal
"""

from __future__ import annotations

from collections.abc import Callable

from manyhands.backends.protocol import Lasting, Settling
from manyhands.core.job import Attempt, Outcome
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Run, Store
from manyhands.work.submitted import KEY


class Settled:
    """The journal; after each commit it tells the backend that its reports are durable."""

    def __init__(self, journal: Journal, backend: Settling) -> None:
        self._journal, self._backend = journal, backend
        self.began: Callable[[Attempt], None] = journal.began
        self.ended: Callable[[Outcome], None] = journal.ended

    def commit(self) -> None:
        """See `manyhands.engine.recording.Record`."""
        self._journal.commit()
        self._backend.settled()


class Collection:
    """The journal of a run that is being collected, as its engine is to see it, and the backend."""

    def __init__(self, journal: Journal, backend: Lasting) -> None:
        self._journal, self._backend = journal, backend
        self.open = frozenset((job.number, attempt) for job, attempt in journal.open_attempts())
        """The attempts that have begun, as (job, number)."""
        self._unseen = {*self.open}
        self.is_over = False
        """Whether all is recorded, and the execution is to be removed from the broker."""
        self.ended: Callable[[Outcome], None] = journal.ended

    def began(self, attempt: Attempt) -> None:
        """See `manyhands.engine.recording.Record`."""
        if attempt.id in self.open:
            self._unseen.discard(attempt.id)
        else:
            self._journal.began(attempt)

    def commit(self) -> None:
        """See `manyhands.engine.recording.Record`."""
        self._journal.commit()

    def hold(self, held: bool) -> None:
        """Have nothing more reported while what was reported is not taken."""
        self._backend.hold(held)

    def end(self) -> None:
        """The engine has ended well: unless it was stopped before it had all open attempts, the backend may remove the execution."""
        if not self._unseen:
            self.is_over = True
            self._backend.collected()


def without_mark(run: Run) -> Run:
    """The run after its execution was removed from the broker. Until then, a resume looks for it there."""
    return Store.update(run, {KEY: None})
