"""Calls a function in this process and thread, one job after another: the reference for other backends, and for debugging.

Nothing can interrupt a call: a time-out is reported after the call has returned, a stop takes effect between two calls.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from manyhands.backends.protocol import Ended, Report, Started
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.in_process import Inside, performed
from manyhands.backends.shared.job_printing import Switched
from manyhands.backends.shared.mailbox import Mailbox
from manyhands.backends.shared.suspension import Suspension
from manyhands.core.job import Attempt

_A_COMMIT: Final = 0.025
"""Seconds; a little more than a result waits for its commit (`manyhands.engine.recording.GROUP_COMMIT`)."""


class Serial:
    """A `manyhands.backends.protocol.Backend`; see the module's first lines."""

    name = "serial"
    can_stop = False
    reports_start = True
    ahead = 0
    """With 0, the last result is recorded and reported before the next job begins."""

    def __init__(self, settings: FunctionSettings) -> None:
        self.settings = settings
        self._mailbox = Mailbox()
        self._switched, self._suspension = Switched(), Suspension(timed=settings.timed)
        try:
            self._inside = Inside(settings, self._switched, self._suspension, 1)
        except BaseException:
            self._suspension.close()
            self._switched.close()
            raise
        self._waiting: deque[Attempt] = deque()
        self._begun: tuple[Attempt, float] | None = None
        self._paused = False
        self._fresh = False
        """Whether the last result may not be recorded yet: it is when the engine starts a new job."""

    def start(self, attempt: Attempt) -> None:
        """Queue the attempt for `reports`."""
        self._fresh = False
        self._waiting.append(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """Report that a job begins; on the next call, do it and report its end."""
        if self._begun:
            (attempt, at), self._begun = self._begun, None
            self._fresh = True
            return [performed(self._inside, attempt, at)]
        if self._waiting and not self._paused:
            if self._fresh and timeout:  # something is due, such as a commit: it would wait for the whole next job
                self._fresh = False
                return self._mailbox.take(min(timeout, _A_COMMIT) + 0.001)
            self._begun = self._waiting.popleft(), time.monotonic()
            return [*self._mailbox.take(0), Started(*self._begun, 1)]
        return self._mailbox.take(timeout)

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report waiting attempts as not begun."""
        for attempt in [waiting for waiting in self._waiting if waiting in attempts]:
            self._waiting.remove(attempt)
            self._mailbox.put(Ended(attempt, time.monotonic(), began=False))

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:  # noqa: ARG002
        """Only what has not begun can be stopped."""
        self.recall(attempts)

    def pause(self, paused: bool) -> None:
        """Begin nothing while ``paused``."""
        self._paused = paused

    def wake(self) -> None:
        """Make a waiting `reports` return."""
        self._mailbox.wake()

    def close(self) -> None:
        """Restore the streams, and release everything."""
        self._suspension.close()
        self._switched.close()
        self._inside.close()
