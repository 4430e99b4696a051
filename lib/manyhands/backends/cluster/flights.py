"""The attempts that are on their way in a cluster: each belongs to a parcel, which is one task of Dask."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from manyhands.core.attempt import Attempt, AttemptId

_SOON: Final = 0.5


class Parcel:
    """A task, and which of its attempts have not ended."""

    __slots__ = ("future", "left", "sent")

    def __init__(self, future: Any, ids: Iterable[AttemptId]) -> None:
        self.future, self.left = future, set(ids)
        self.sent = time.monotonic()

    @property
    def is_fresh(self) -> bool:
        """Whether it should be over soon."""
        return time.monotonic() - self.sent < _SOON


class Flight:
    """An attempt, and what is known of it."""

    __slots__ = ("attempt", "begun", "owner", "parcel", "recalled", "stopped")

    def __init__(self, attempt: Attempt, parcel: Parcel) -> None:
        self.attempt, self.parcel = attempt, parcel
        self.owner: str | None = None
        """The worker on which it has begun."""
        self.begun = self.recalled = False
        self.stopped: float | None = None
        """When it was first asked to end."""
