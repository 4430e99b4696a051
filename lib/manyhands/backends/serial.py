"""A function called in this process and thread, one job after another: the reference for all others, and for a debugger.

Nothing can interrupt a call: a time-out is told when it has come back, a stop is obeyed between two.
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
"""Seconds; a little more than an end waits for its commit (`manyhands.engine.loop.GROUP_COMMIT`)."""


class Serial:
    """A `manyhands.backends.protocol.Backend`; see the module's first lines."""

    name = "serial"
    can_stop = False
    reports_start = True
    ahead = 0
    """The next job is handed over together with the record of the last: what has ended is recorded, and told, before it begins."""

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
        """The last end has been told, and perhaps not been recorded yet: that is known when a new job is handed over."""

    def start(self, attempt: Attempt) -> None:
        """Lay it ready for `reports`."""
        self._fresh = False
        self._waiting.append(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """Tell that a job begins; the next time, do it and tell how it ended."""
        if self._begun:
            (attempt, at), self._begun = self._begun, None
            self._fresh = True
            return [performed(self._inside, attempt, at)]
        if self._waiting and not self._paused:
            if self._fresh and timeout:  # something is due, such as a record: it would wait for the whole next job
                self._fresh = False
                return self._mailbox.take(min(timeout, _A_COMMIT) + 0.001)
            self._begun = self._waiting.popleft(), time.monotonic()
            return [*self._mailbox.take(0), Started(*self._begun, 1)]
        return self._mailbox.take(timeout)

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Give back what waits."""
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
        """Print as before."""
        self._suspension.close()
        self._switched.close()
        self._inside.close()
