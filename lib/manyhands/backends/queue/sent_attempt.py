"""What a coordinator knows of an attempt that it has given to the broker."""

from __future__ import annotations

from manyhands.core.attempt import Attempt


class Sent:
    """An attempt that was sent at the moment ``at``, and what is known of it."""

    __slots__ = ("at", "attempt", "begun", "owner", "stopped")

    def __init__(self, attempt: Attempt, at: float) -> None:
        self.attempt, self.at = attempt, at
        self.owner: str | None = None
        self.begun = False
        self.stopped: float | None = None
        """When it was first asked to end."""
