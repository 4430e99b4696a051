"""Suspends all attempts, and counts the time for which nothing could run."""

from __future__ import annotations

from collections.abc import Callable


class Pauses:
    """``pause`` suspends or continues what runs. Only the engine's thread calls this."""

    def __init__(self, pause: Callable[[bool], None], clock: Callable[[], float]) -> None:
        self._pause, self._clock = pause, clock
        self._reasons: set[str] = set()
        self._since: float | None = None
        self._until = 0.0
        self.total = 0.0
        """Seconds for which nothing could run: all was suspended, or stopped together with this process."""

    @property
    def paused(self) -> bool:
        """Whether all is suspended now."""
        return self._since is not None

    def set(self, paused: bool, reason: str = "") -> None:
        """Suspend what runs for a reason, or let that one be over; it continues when none is left."""
        (self._reasons.add if paused else self._reasons.discard)(reason)
        paused = bool(self._reasons)
        if paused is self.paused:
            return
        self._pause(paused)
        if self._since is None:
            self._since = self._clock()
        else:
            self._until = self._clock()
            self.total += self._until - self._since
            self._since = None

    def suspended(self, at: float, seconds: float) -> None:
        """Count ``seconds`` in which this process was stopped, until ``at``, unless all was suspended then anyway."""
        if self._since is None and at - seconds >= self._until:
            self.total += seconds
