"""The coordinator's end with Celery or RQ: attempts wait in their broker, an `AttemptQueue`; everything else is in Redis as with Streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from manyhands.backends.queue import keys
from manyhands.backends.queue.attempt_messages import parcel
from manyhands.backends.queue.attempt_queue import AttemptQueue, Waiting, shortened
from manyhands.backends.queue.carrier import Beat, Whereabouts
from manyhands.backends.queue.redis_connection import our_errors, reached
from manyhands.backends.queue.redis_sender import RedisSender
from manyhands.core.attempt import AttemptId
from manyhands.work.broker_url import BrokerUrl


class FedSender(RedisSender):
    """One execution; ``function``: the name of what is called, if it is no command. It owns the queue, which is at ``broker``."""

    most_together = 1

    def __init__(self, broker: BrokerUrl, queue: AttemptQueue, *redis: Any, function: str) -> None:
        super().__init__(*redis)
        self._broker, self._queue, self._function = broker, queue, function
        self._order: dict[AttemptId, int] = {}
        """When an attempt was last sent, counted from 0."""
        self._count = 0
        self._only_queue = False
        """Whether it was only the queue that did not answer."""

    def open(self) -> None:
        """See `carrier.Sender`."""
        reached(self._broker, lambda: self._queue.make(self.name))
        super().open()

    def renew(self, *, again: bool) -> Beat:
        """See `carrier.Sender`."""
        only_queue, self._only_queue = self._only_queue, False
        beat = super().renew(
            again=again and not only_queue
        )  # first: the lease is there, and jobs need not end with the queue
        self._only_queue = True
        made = self._queue.make(self.name)
        self._only_queue = False
        return beat._replace(forgotten=beat.forgotten or made or again)

    def send(self, attempts: Sequence[tuple[AttemptId, bytes]], together: int = 1) -> None:  # noqa: ARG002 - each by itself
        """See `carrier.Sender`: Celery's and RQ's tools show each attempt."""
        self._queue.put(self.name, [self._waiting(id, row) for id, row in attempts])
        for id, _ in attempts:
            self._order[id] = self._count
            self._count += 1

    def _waiting(self, id: AttemptId, row: bytes) -> Waiting:
        """The attempt as Celery's and RQ's tools show it; each time it is sent it has another name."""
        copy = f"-copy{self._count}" if id in self._order else ""
        name = f"{self.name.replace('.', '_')}-{id[0]}-{id[1]}{copy}"
        words = ("".join(one) if isinstance(one, list) else one for one in json.loads(row)[2])
        return Waiting(name, shortened(" ".join([*([self._function] if self._function else []), *words])), parcel([row]))

    def find(self, ids: Sequence[AttemptId]) -> Sequence[Whereabouts]:
        """See `carrier.Sender`: of those that were sent, the last ones wait; a copy of one that does does no harm."""
        first = self._count - self._queue.count(self.name)
        with our_errors():
            owners = self._redis.hmget(self._keys.claims(self.name), [keys.attempt(id) for id in ids])
        return [
            Whereabouts(owner and owner.decode("utf-8", "replace"), self._order.get(id, -1) >= first)
            for id, owner in zip(ids, owners, strict=True)
        ]

    def _end(self, name: str) -> None:
        super()._end(name)
        self._queue.remove(name)

    def close(self) -> None:
        """See `carrier.Sender`."""
        self._queue.close()
        super().close()
