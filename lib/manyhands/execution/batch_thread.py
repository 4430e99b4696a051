"""Runs a batch in a thread of its own, so that its deadlines do not depend on how fast the caller iterates.

    engine's thread: Batch.events() --lists of events--> Channel --take--> program, or console

The thread opens the journal, uses it and closes it. It holds no reference to the iterator that the program has, so the batch ends
when the program drops that iterator. With ``--backend serial`` the functions are called in the caller's own thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Container
from contextlib import closing
from typing import TYPE_CHECKING, Final, Protocol, TypeGuard

from manyhands.core.events import HAPPENINGS, Began, Event
from manyhands.engine.channel import Channel, Closed
from manyhands.execution.batch import Batch
from manyhands.runtime.at_exit import close_at_exit

if TYPE_CHECKING:
    from manyhands.execution.staged import StagedBatch

_LEAVING: Final = 10.0
"""Seconds beyond the grace to wait for the thread; after that it is left running until the process ends."""


class Carrier(Protocol):
    """Carries out a batch; every method but `take` may be called from any thread."""

    def take(self, timeout: float | None = None) -> list[Event]:
        """The next events; none after ``timeout`` seconds. At the end it raises Closed, whose cause is the batch's error."""

    def nudge(self) -> None:
        """Let a waiting `take` return without events. Safe in a signal handler."""

    def leave(self) -> None:
        """Begin to end what runs, and do not wait: `take` raises Closed when that is done and recorded."""

    def close(self) -> None:
        """End what runs, record it, and wait for that. Does nothing if all is over, or in a forked child."""


def carry(batch: Batch | StagedBatch, wanted: Container[type[Event]] = HAPPENINGS) -> Carrier:
    """Start the batch, in a thread unless the calls have to be made in this one. Only events of the kinds ``wanted`` are sent."""
    batch.begins = Began in wanted
    if is_done_by_caller(batch):
        return InSameThread(batch, wanted)
    return InThread(batch, wanted)


def is_done_by_caller(batch: Batch | StagedBatch) -> TypeGuard[Batch]:
    """Whether the calls are made by the thread that takes the events."""
    return isinstance(batch, Batch) and batch.plan.backend == "serial"


class InThread:
    """See the module's first lines."""

    def __init__(self, batch: Batch | StagedBatch, wanted: Container[type[Event]] = HAPPENINGS) -> None:
        self.channel = batch.channel = Channel(batch.wake)
        self._batch, self._wanted, self._pid = batch, wanted, os.getpid()
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name="manyhands-engine", daemon=True)
        close_at_exit(self)
        self._thread.start()

    def take(self, timeout: float | None = None) -> list[Event]:
        """See `Carrier.take`."""
        return self.channel.take(timeout)

    def nudge(self) -> None:
        """See `Carrier.nudge`."""
        self.channel.nudge()

    def leave(self) -> None:
        """See `Carrier.leave`."""
        self._leaving = True
        self._batch.leave()

    @property
    def patience(self) -> float:
        """Seconds after which it is not waited for any more."""
        return self._batch.plan.limits.grace + _LEAVING

    def close(self) -> None:
        """See `Carrier.close`."""
        if self._pid != os.getpid():
            return
        self.leave()
        if threading.current_thread() is not self._thread:
            self._thread.join(self.patience)

    def _run(self) -> None:
        gathered: list[Event] = []
        wanted = self._wanted
        error: BaseException | None = None

        def send() -> None:
            if gathered:
                self.channel.put(gathered.copy())
                gathered.clear()

        try:
            with closing(self._batch.events(before_waiting=send)) as events:
                for event in events:
                    if type(event) in wanted:
                        gathered.append(event)
                    if self._leaving:
                        break
        except BaseException as caught:  # any error is raised again in the thread that takes the events
            error = caught
        finally:
            send()
            self.channel.close(error)


class InSameThread:
    """Carries out a batch in the thread that takes its events; see the module's first lines."""

    def __init__(self, batch: Batch, wanted: Container[type[Event]] = HAPPENINGS) -> None:
        self._batch, self._wanted, self._pid = batch, wanted, os.getpid()
        self._events = batch.events()

    def take(self, timeout: float | None = None) -> list[Event]:  # noqa: ARG002 - a call in this thread cannot time out
        """See `Carrier.take`."""
        try:
            event = next(self._events)
        except StopIteration:
            raise Closed from None
        except Exception as error:
            raise Closed from error
        return [event] if type(event) in self._wanted else []

    def nudge(self) -> None:
        """See `Carrier.nudge`."""
        self._batch.wake()

    def leave(self) -> None:
        """See `Carrier.leave`."""
        self.close()

    def close(self) -> None:
        """See `Carrier.close`."""
        if self._pid == os.getpid():
            self._events.close()
