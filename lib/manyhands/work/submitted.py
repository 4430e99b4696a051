"""An execution in a broker that goes on without a coordinator: what run.json keeps of it, until it is collected.

Separate from the plan, which says what a run does: this says where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from manyhands.core.errors import JournalError, UsageError
from manyhands.core.hints import given_as
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass

KEY: Final = "submitted"
"""In run.json; null when the execution was collected."""
_LEAST, _MOST = 60.0, 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """An execution called ``name`` in the broker, where it is kept for ``keep`` seconds after anybody has asked for it."""

    name: str
    keep: float

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Submitted | None:
        """That of a run, from its run.json; None if nobody has submitted it, or if it was collected. Raises JournalError."""
        found = record.get(KEY)
        if found is None:
            return None
        try:
            return cls(str(found["name"]), float(found["keep"]))
        except (KeyError, TypeError, ValueError):
            raise JournalError(
                f"the run {record.get('id')!s:.70} cannot be read: its run.json is damaged ({KEY} is {found!r:.80})"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """What run.json gets."""
        return {KEY: {"name": self.name, "keep": self.keep}}


def parse_keep_in_broker(text: float | str) -> float:
    """Seconds. Raises UsageError."""
    seconds = parse_duration(text, "--keep-in-broker")
    if not _LEAST <= seconds <= _MOST:
        raise UsageError(f"{given_as('--keep-in-broker', text)}: expected 1m to 90d")
    return seconds
