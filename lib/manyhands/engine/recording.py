"""Groups rows for the journal, and holds their events back until the rows are durable.

    ended --> noted --commit: all rows at once, durable--> taken

Separate from the loop, which only needs to know when a commit is due.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from manyhands.core.events import Finished
from manyhands.core.job import Attempt, Outcome, Status
from manyhands.engine.outcomes import LEFT

GROUP_COMMIT: Final = 0.020
"""Seconds that a result may wait for its row to be committed."""


class Record(Protocol):
    """What the engine needs of a journal (`manyhands.storage.journal.Journal`)."""

    def began(self, attempt: Attempt) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...
    def commit(self) -> None: ...


class Recorder:
    """Groups the rows of one execution, and counts its jobs by how they ended."""

    def __init__(self, journal: Record, clock: Callable[[], float]) -> None:
        self._journal, self._clock = journal, clock
        self._note = journal.ended
        self.began = journal.began
        """Note an attempt that is about to begin: it must not begin before the next commit."""
        self._noted: list[Finished] = []
        self._noted_since = 0.0
        self._durable: list[Finished] = []
        self.counts: dict[Status, int] = {}
        """Jobs that are done, by status."""
        self.left = 0
        """Jobs that were taken from the inputs and still have to be done."""
        self.work = 0.0
        """Seconds of all attempts together."""

    def ended(self, event: Finished) -> None:
        """Note an attempt that has ended: its event is not taken before the next commit."""
        if not self._noted:
            self._noted_since = self._clock()
        self._noted.append(event)
        outcome = event[0]
        _, status, ending, final = outcome
        self._note(outcome)
        self.work += ending[4]
        if final:
            if status in LEFT:
                self.left += 1
            else:
                self.counts[status] = self.counts.get(status, 0) + 1

    @property
    def due(self) -> float | None:
        """When the next commit must have happened; None if no result waits for it."""
        return self._noted_since + GROUP_COMMIT if self._noted else None

    def commit(self) -> None:
        """Make all rows durable. If it raises JournalError, the rows are kept."""
        self._journal.commit()
        self._durable += self._noted
        self._noted = []

    def take_durable(self) -> list[Finished]:
        """The events whose rows have become durable, each once."""
        durable, self._durable = self._durable, []
        return durable
