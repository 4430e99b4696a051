"""The coordinator's end of Redis Streams; see `carrier.Sender`, and `keys` for what is kept there."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.queue import keys, messages
from manyhands.backends.queue.attempt_messages import parcel
from manyhands.backends.queue.carrier import RECALLED, Arrived, Beat, GoneError, Whereabouts
from manyhands.backends.queue.keys import Keys
from manyhands.backends.queue.messages import packed
from manyhands.backends.queue.redis_connection import client, our_errors, reached, streams, texts
from manyhands.core.attempt import AttemptId
from manyhands.work.broker_url import BrokerUrl

_OURSELVES: Final = secrets.token_hex(8)
"""This process, which may have several executions of one run: one for each stage."""
_READ: Final = 100
"""Parcels of reports that are read at once."""
_PAUSED: Final = 86_400.0
"""Seconds that a suspended execution is kept without a sign of life."""
_KEPT: Final = 2
"""Leases that the streams are kept without a sign of life."""
LISTED: Final = 100 * 86_400
"""Seconds that the list of executions is kept: longer than any of them, some of which nobody renews for days."""


class RedisSender:
    """One execution; ``settings`` are those that consumers need. Raises UnavailableError if the broker cannot be used."""

    most_together = messages.TOGETHER
    _trims = True
    """Whether a report is removed when it has been read."""

    def __init__(
        self, url: BrokerUrl, name: str, settings: bytes, token: str, lease: float, names: Keys = keys.REDIS
    ) -> None:
        self._keys = names
        self.name, self._url, self._settings, self._token, self._lease = name, url, settings, token, lease
        self._redis = client(url)
        self.mark = b"{}"
        """What is no report: written by ourselves."""
        self._last = b"0"
        """The last report that was read."""
        self._entries: dict[AttemptId, tuple[int, ...]] = {}
        """In which entry of the stream an attempt was last sent."""
        self._paused = False
        self._mutex = threading.Lock()

    def open(self) -> None:
        """See `carrier.Sender`."""
        reached(self._url, self._open)

    def _open(self) -> None:
        with our_errors():
            for other in sorted(texts(self._redis.smembers(self._keys.runs))):
                token, coordinator = self._origin(other)
                if token is None:  # its lease is over
                    self._redis.srem(self._keys.runs, other)
                elif token == self._token.encode() and coordinator != _OURSELVES.encode() and other != self.name:
                    self._end(other)  # its coordinator was killed: the run's lock is ours
            self._enter()

    def _enter(self) -> None:
        """Begin with the execution."""
        self._begin()

    def _origin(self, run: str) -> Any:
        """The run that an execution is of, and who began it."""
        with suppress(GoneError), our_errors():
            return self._redis.hmget(self._keys.run(run), "token", "coordinator")
        return None, None

    def _begin(self) -> None:
        """Make, or make anew, all that there is of the execution."""
        with self._mutex:
            self._entries.clear()
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(self._keys.run(self.name), self._keys.attempts(self.name), self._keys.claims(self.name))
            pipe.xgroup_create(self._keys.attempts(self.name), keys.GROUP, id="0", mkstream=True)
            pipe.xadd(self._keys.reports(self.name), {keys.FIELD: self.mark})  # so that it exists
            pipe.hset(
                self._keys.run(self.name),
                mapping={
                    "settings": self._settings,
                    "incarnation": secrets.token_hex(8),
                    "paused": int(self._paused),
                    "token": self._token,
                    "coordinator": _OURSELVES,
                },
            )
            self._keep(pipe)
            pipe.execute()
        self._ring(self._consumers())

    def _keep(self, pipe: Any) -> None:
        """Renew the lease."""
        lease = _PAUSED if self._paused else self._lease
        pipe.pexpire(self._keys.run(self.name), int(lease * 1000))
        for key in (self._keys.attempts, self._keys.reports, self._keys.claims):
            pipe.pexpire(key(self.name), int(lease * _KEPT * 1000))
        pipe.sadd(self._keys.runs, self.name)
        pipe.expire(self._keys.runs, LISTED)

    def _consumers(self) -> set[str]:
        return texts(self._redis.smembers(self._keys.consumers))

    def _ring(self, consumers: Collection[str]) -> None:
        self.tell(consumers, packed({"type": "runs"}))

    def renew(self, *, again: bool) -> Beat:
        """See `carrier.Sender`."""
        with our_errors():
            known = self._redis.exists(self._keys.run(self.name))
            if forgotten := again or not known:
                self._last = b"0"
                self._begin()
            names = sorted(self._consumers())
            with self._redis.pipeline(transaction=False) as pipe:
                self._keep(pipe)
                for name in names:
                    pipe.get(self._keys.consumer(name))
                found = pipe.execute()[-len(names) :] if names else (pipe.execute(), [])[1]
            sent = time.monotonic()
            whole, micro = self._redis.time()
            received = time.monotonic()
            alive = {name: about for name, about in zip(names, found, strict=True) if about is not None}
            if gone := [name for name in names if name not in alive]:
                self._redis.srem(self._keys.consumers, *gone)
        return Beat(alive, bool(forgotten), sent, whole + micro / 1e6, received)

    def send(self, attempts: Sequence[tuple[AttemptId, bytes]], together: int = 1) -> None:
        """See `carrier.Sender`."""
        parts = [*messages.parcels([row for _, row in attempts], together)]
        with our_errors(), self._redis.pipeline(transaction=False) as pipe:
            for part in parts:
                pipe.xadd(self._keys.attempts(self.name), {keys.FIELD: parcel(part)})
            numbers = [*map(number_of, pipe.execute())]
        in_order = (number for part, number in zip(parts, numbers, strict=True) for _ in part)
        with self._mutex:
            self._entries.update(zip((id for id, _ in attempts), in_order, strict=True))

    def receive(self, timeout: float) -> Sequence[Arrived]:
        """See `carrier.Sender`."""
        key = self._keys.reports(self.name)
        found: list[Arrived] = []
        with our_errors():
            answer = self._redis.xread({key: self._last}, count=_READ, block=max(1, int(timeout * 1000)))
            for _, entries in streams(answer):
                for entry, fields in entries:
                    at = number_of(entry)[0] / 1000
                    found += [Arrived(one, at) for one in messages.opened(fields.get(keys.FIELD))]
                self._last = entries[-1][0]
                if self._trims:
                    self._redis.xdel(key, *(entry for entry, _ in entries))
        return found

    def interrupt(self) -> None:
        """See `carrier.Sender`."""
        with our_errors():
            self._redis.xadd(self._keys.reports(self.name), {keys.FIELD: b"{}"}, nomkstream=True)

    def claim(self, ids: Sequence[AttemptId]) -> Sequence[str]:
        """See `carrier.Sender`."""
        with our_errors(), self._redis.pipeline(transaction=False) as pipe:
            for id in ids:
                pipe.hsetnx(self._keys.claims(self.name), keys.attempt(id), RECALLED)
                pipe.hget(self._keys.claims(self.name), keys.attempt(id))
            owners = pipe.execute()[1::2]
        return [(owner or b"").decode("utf-8", "replace") for owner in owners]

    def find(self, ids: Sequence[AttemptId]) -> Sequence[Whereabouts]:
        """See `carrier.Sender`."""
        given: tuple[int, ...] = (1 << 62,)
        """The last entry that a consumer was given; without the stream, all are gone."""
        with suppress(GoneError), our_errors():
            for one in self._redis.xinfo_groups(self._keys.attempts(self.name)):
                given = number_of(one["last-delivered-id"])
        with our_errors():
            owners = self._redis.hmget(self._keys.claims(self.name), [keys.attempt(id) for id in ids])
        with self._mutex:
            return [
                Whereabouts(owner and owner.decode("utf-8", "replace"), self._entries.get(id, (0,)) > given)
                for id, owner in zip(ids, owners, strict=True)
            ]

    def tell(self, consumers: Collection[str], message: bytes) -> None:
        """See `carrier.Sender`."""
        with our_errors(), self._redis.pipeline(transaction=False) as pipe:
            for name in consumers:
                pipe.xadd(self._keys.control(name), {keys.FIELD: message}, maxlen=1000, approximate=True)
                pipe.pexpire(self._keys.control(name), int(self._lease * 1000))
            pipe.execute()

    def pause(self, paused: bool) -> None:
        """See `carrier.Sender`."""
        self._paused = paused
        with our_errors(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._keys.run(self.name), "paused", int(paused))
            self._keep(pipe)
            pipe.execute()

    def finish(self) -> None:
        """See `carrier.Sender`."""
        with our_errors():
            self._end(self.name)

    def _end(self, name: str) -> None:
        """Remove an execution: the lists first, so that no consumer begins with it again."""
        self._redis.srem(self._keys.runs, name)
        self._redis.delete(*self._keys.all_of(name))
        self.tell(self._consumers(), packed({"type": "close", "run": name}))

    def close(self) -> None:
        """See `carrier.Sender`."""
        self._redis.close()


def number_of(entry: bytes) -> tuple[int, ...]:
    """The id of an entry, MILLISECONDS-NUMBER, as it is ordered."""
    first, _, second = entry.partition(b"-")
    return int(first), int(second or 0)
