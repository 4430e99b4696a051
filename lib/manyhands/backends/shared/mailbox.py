"""A queue from the threads of a backend to the engine's thread, which waits there for reports."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from manyhands.backends.protocol import Report


class Mailbox:
    """A queue of reports. `wake` may be called from a signal handler: SimpleQueue.put is reentrant."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self.put = self._queue.put

    def take(self, timeout: float | None) -> Sequence[Report]:
        """All reports so far; waits for the first one up to ``timeout`` seconds, or until `wake`."""
        found: list[Report] = []
        try:
            report = self._queue.get(timeout=timeout)
            while report is not None:
                found.append(report)
                report = self._queue.get_nowait()
        except queue.Empty:
            pass
        return found

    def wake(self) -> None:
        """Make a waiting `take` return."""
        self._queue.put(None)
