"""What a killed coordinator has left in the broker. Before its run goes on, unread ends are read, and what still runs is killed.

    attempts without a known end --claimed, so that nobody begins them--> broker --close--> consumers kill what they run
    Ended, a page at a time <-------------------------------------------- broker <-ends, closed-- consumers

In the end all of it is removed. A resume may be killed in it at any moment: reports stay in the broker until the caller has recorded them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from manyhands.backends.protocol import Ended
from manyhands.backends.queue import messages, reports
from manyhands.backends.queue.carrier import RECALLED, Arrived
from manyhands.backends.queue.messages import Message, NotOursError
from manyhands.backends.queue.outputs import Outputs
from manyhands.backends.queue.plain_ends import ends_of
from manyhands.backends.queue.redis_sender import RedisSender
from manyhands.backends.queue.sent_attempt import Sent
from manyhands.backends.site.clock import FarClock
from manyhands.core.attempt import Attempt, AttemptId

PATIENCE: Final = 5.0
"""Seconds that living consumers are given to kill what they have."""
_LOOK: Final = 0.1


class LeftBehind:
    """One execution whose coordinator is gone; ``sender`` is our end of it, ``outputs`` the folder of its large outputs."""

    def __init__(self, sender: RedisSender, outputs: Path) -> None:
        self._sender = sender
        self._outputs = Outputs(outputs)
        self._clock = FarClock()
        self._sent: dict[AttemptId, Sent] = {}
        self.silent: Sequence[str] = ()
        """Consumers that live, and have not said within `PATIENCE` that they have let go of their attempts."""

    def ends(
        self, attempts: Sequence[Attempt], hurried: Callable[[], bool] = lambda: False
    ) -> Generator[Sequence[Ended], None, None]:
        """Which of these attempts have ended by themselves, and how, a page at a time; ask for the next when a page is durable.
        In the end all of the execution is removed. Nobody is waited for when it is ``hurried``. Raises BrokerLostError."""
        now = time.monotonic()
        self._sent = {one.id: Sent(one, now) for one in attempts}
        for id in self._sent:
            self._outputs.remove(id)
        sent, at, received = self._sender.clock()
        self._clock.answered(sent, received, at)
        owners = {*self._sender.retire([*self._sent])} - {RECALLED}
        deadline = now + PATIENCE
        while True:
            arrived = self._sender.receive(_LOOK if owners else 0.0)
            yield [*self._ended(arrived, owners)]
            if arrived:
                self._sender.forget(1)
            elif not owners or time.monotonic() > deadline or hurried():
                break
            else:
                owners &= {*self._sender.living([*owners])}
        self.silent = sorted(owners)
        self._outputs.drop()
        self._sender.finish()

    def _ended(self, arrived: Sequence[Arrived], owners: set[str]) -> Iterator[Ended]:
        """The ends in these reports; who says that it has closed the execution is no owner any more."""
        for one in arrived:
            with suppress(NotOursError):  # or nothing of an end
                message = messages.unpacked(one.data, "ends", "ended", "piece", "closed")
                if message["type"] == "closed":
                    owners.discard(messages.text(message, "consumer"))
                elif message["type"] == "ends":
                    yield from self._plain_ends(message, self._clock.here(one.at))
                elif end := self._end(message, self._clock.here(one.at)):
                    yield end

    def _plain_ends(self, message: Message, sent_at: float) -> Iterator[Ended]:
        for id, at, ending, pid in ends_of(message, sent_at):
            if (sent := self._sent.pop(id, None)) is not None:
                yield Ended(sent.attempt, at, ending, pid=pid)

    def _end(self, message: Message, sent_at: float) -> Ended | None:
        """The end that a message tells, if the attempt ended by itself, and is not to be repeated because its output was lost."""
        id = messages.attempt_id(message)
        if (sent := self._sent.get(id)) is None:
            return None
        if message["type"] == "piece":
            self._outputs.add(id, reports.piece_of(message))
            return None
        end, sent.owner = reports.end_of(message), messages.text(message, "consumer")
        del self._sent[id]
        stdout, stderr, failure = self._outputs.whole(id, end)
        if end.began and not (end.stopped or failure):
            return sent.end(end, sent_at, stdout, stderr, None)
        self._outputs.remove(id)
        return None
