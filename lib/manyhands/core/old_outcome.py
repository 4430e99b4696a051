"""Outcomes as they were pickled when their measurements were fields of their own; `manyhands.core.unpickling` leads here."""

from __future__ import annotations

from typing import Any

from manyhands.core.job import Attempt, Ending, Outcome, Status
from manyhands.core.live_outcome import LiveOutcome


class OldOutcome:
    """Makes an outcome of today, which is what it gives."""

    kind: type[Outcome[Any]] = Outcome

    def __new__(cls, attempt: Attempt, status: Status, *fields: Any) -> Outcome[Any]:  # type: ignore[misc]  # that is its purpose
        """``fields`` in the order that they had then."""
        *measured, still_running, final, result, traceback = fields
        return cls.kind(attempt, status, Ending._make((*measured, result, traceback, still_running, None)), final)


class OldLiveOutcome(OldOutcome):
    """The same of one that a program had; what it was given comes with its state."""

    kind = LiveOutcome
