"""Calls a function in threads of this process: for work that waits, or that releases the interpreter's lock.

A thread cannot be stopped: a call beyond its time limit is reported as `still_running`, and keeps its slot until it returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from manyhands.backends.protocol import Report, Started
from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.in_process import Doer, performed
from manyhands.backends.shared.job_printing import Switched
from manyhands.backends.shared.mailbox import Mailbox
from manyhands.backends.shared.slot_threads import SlotThreads
from manyhands.backends.shared.suspension import GONE_ON, Suspension
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt


class Threads:
    """A `manyhands.backends.protocol.Backend`; see the module's first lines. ``make`` is called in each thread with the shared objects and the slot's number."""

    can_stop = False
    reports_start = True
    ahead = 64

    def __init__(
        self, settings: FunctionSettings, make: Callable[[Switched, Suspension, int], Doer], name: str = "threads"
    ) -> None:
        self.settings, self.name, self._make = settings, name, make
        self._mailbox = Mailbox()
        self._broken: ManyhandsError | None = None
        self._switched, self._suspension = Switched(), Suspension(timed=settings.timed)
        self._threads = SlotThreads(settings.slots, self._serve, self._mailbox.put)

    def start(self, attempt: Attempt) -> None:
        """Give the attempt to the next free thread."""
        self._threads.start(attempt)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """All reports so far; waits for the first one. Raises ManyhandsError if an initializer failed."""
        found = self._mailbox.take(timeout)
        if spells := self._suspension.news():
            found = [*spells, *(found or self._mailbox.take(GONE_ON))]
        if self._broken:
            raise self._broken
        return found

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Report as not begun what no thread has taken."""
        self._threads.recall(attempts)

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:  # noqa: ARG002
        """Only what has not begun can be stopped."""
        self.recall(attempts)

    def pause(self, paused: bool) -> None:
        """Begin nothing while ``paused``."""
        self._threads.pause(paused)

    def grow(self, slots: int) -> int:
        """See `manyhands.backends.protocol.Growing`."""
        return self._threads.grow(slots)

    def wake(self) -> None:
        """Make a waiting `reports` return."""
        self._mailbox.wake()

    def close(self) -> None:
        """End the idle threads; a busy one is left running, and ends with the process at the latest."""
        self._threads.shut()
        self._threads.join(0.2)
        self._suspension.close()
        self._switched.close()

    def _serve(self, take: Callable[[], Attempt | None], number: int) -> None:
        """The life of one thread."""
        try:
            doer = self._make(self._switched, self._suspension, number)
        except ManyhandsError as error:  # raised again in the engine's thread
            self._broken = error
            self._mailbox.wake()
            return
        except BaseException as error:  # any other error while preparing (no more descriptors)
            self._broken = ManyhandsError(f"cannot prepare a thread: {type(error).__name__}: {error}")
            self._mailbox.wake()
            return
        try:
            while (attempt := take()) is not None:
                at = time.monotonic()
                self._mailbox.put(Started(attempt, at, number))
                self._mailbox.put(performed(doer, attempt, at))
        finally:
            doer.close()
