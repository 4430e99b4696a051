"""The coordinator that collects a submitted execution: it finds out what became of each attempt, and then works as any coordinator.

    start(attempt) --> where is it?  reported as ended --> Ended
                                     claimed, or waiting --> it is left alone
                                     neither --> sent, as by every coordinator

Reports are read from the beginning, and stay in the broker until the engine has recorded all of them. So a collector may be killed at any
moment. All open attempts have to be started before the first call of `reports`: reports of other attempts are ignored.
"""

from __future__ import annotations

import time
from contextlib import suppress

from manyhands.backends.queue.carrier import Arrived, BrokerLostError, LastingSender
from manyhands.backends.queue.coordinator import LONELY, SETTLING, Queued
from manyhands.backends.queue.lasting_sender import MARK, fresh_mark
from manyhands.backends.queue.sent_attempt import Sent
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.attempt import Attempt, AttemptId


class Collector(Queued):
    """See the module's first lines; a `manyhands.backends.protocol.Lasting`."""

    def __init__(self, name: str, settings: CommandSettings | FunctionSettings, sender: LastingSender) -> None:
        self._adopted: list[AttemptId] = []
        self._held = False
        self._leaves = True
        self._caught_up = False
        """Whether all reports have been received that were there when the execution was opened."""
        self._lasting = sender
        self._next_look = 0.0
        super().__init__(name, settings, sender)
        # If it had to be begun anew, consumers that still have attempts of it need some time to say so.
        self._look_at = self._opened + (0.0 if sender.found else SETTLING * self._period)
        with suppress(BrokerLostError):  # it is tried again
            self._beaten(sender.renew(again=False))  # now: reports are days old, and need the broker's clock

    def start(self, attempt: Attempt) -> None:
        """Look where the attempt is; if it is nowhere, queue it."""
        super().start(attempt)
        if self._waiting.pop(attempt.id, None) is not None:
            self._sent[attempt.id] = Sent(attempt, time.monotonic())
            self._adopted.append(attempt.id)

    def hold(self, held: bool) -> None:
        """See `manyhands.backends.protocol.Lasting`."""
        if held == self._held:
            return
        self._held = held
        self._courier.hold(held)
        if not held:
            self._caught_up = False
            self._lasting.mark = fresh_mark()
            self._courier.do(self._lasting.write_mark)

    def collected(self) -> None:
        """See `manyhands.backends.protocol.Lasting`."""
        self._leaves = False

    def _dispatch(self) -> None:
        if self._adopted and not self._paused and time.monotonic() >= self._look_at:
            self._audit(self._adopted)
            self._adopted = []

    def _hear(self, arrived: Arrived) -> None:
        if isinstance(arrived.data, bytes) and arrived.data.startswith(MARK):
            self._caught_up = self._caught_up or arrived.data == self._lasting.mark
        else:
            super()._hear(arrived)

    def _look_for_lost(self, now: float) -> None:
        """A consumer that has gone may have reported all that it had: that is read first."""
        if self._caught_up and not self._held and now >= self._next_look:
            self._next_look = now + self._period
            super()._look_for_lost(now)

    def _is_lonely(self) -> bool:
        return self._caught_up and super()._is_lonely()

    def _look_at_outage(self, seconds: float) -> None:
        """However long the broker is silent, the jobs do not end with us: wait for it."""
        if seconds > LONELY:
            self._lose_stopped()
