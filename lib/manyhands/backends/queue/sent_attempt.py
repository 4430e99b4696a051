"""What a coordinator knows of an attempt that it has given to the broker."""

from __future__ import annotations

import time

from manyhands.backends.protocol import Ended
from manyhands.backends.queue.reports import End
from manyhands.core.attempt import Attempt, Output


class Sent:
    """An attempt that was sent at the moment ``at``, and what is known of it."""

    __slots__ = ("at", "attempt", "begun", "owner", "stopped")

    def __init__(self, attempt: Attempt, at: float) -> None:
        self.attempt, self.at = attempt, at
        self.owner: str | None = None
        self.begun = False
        self.stopped: float | None = None
        """When it was first asked to end."""

    def end(self, end: End, sent_at: float, stdout: Output, stderr: Output, failure: str | None) -> Ended:
        """Its end, from a report that was sent at ``sent_at`` by our clock, with its outputs; ``failure``: why an output is incomplete."""
        at = sent_at - end.ago
        # the stop came first, that is certain; the two clocks agree only to some milliseconds
        if end.stopped and self.stopped:
            at = max(at, self.stopped)
        ending = end.ending._replace(
            error=end.ending.error or failure,
            started=time.time() - (time.monotonic() - (at - end.ending.wall)),
            host=self.owner if end.began else None,
            stdout=stdout,
            stderr=stderr,
        )
        return Ended(self.attempt, at, ending, end.began, end.died, end.pid)
