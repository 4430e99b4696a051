"""The coordinator's end of Redis Streams; see `carrier.Sender`, and `keys` for what is kept there."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final

from manyhands.backends.queue import keys, messages
from manyhands.backends.queue.attempt_messages import parcel
from manyhands.backends.queue.carrier import RECALLED, Arrived, Beat, GoneError, Whereabouts
from manyhands.backends.queue.keys import Keys
from manyhands.backends.queue.messages import packed
from manyhands.backends.queue.redis_connection import client, number_of, our_errors, reached, streams, texts
from manyhands.core.attempt import AttemptId
from manyhands.work.broker_url import BrokerUrl

_READ: Final = 100
"""Parcels of reports that are read at once."""
_PAUSED: Final = 86_400.0
"""Seconds that a suspended execution is kept without a sign of life."""
_KEPT: Final = 2
"""Leases that what consumers need is kept without a sign of life."""
_REPORTS_KEPT: Final = 7 * 86_400
"""Seconds that the reports are kept: a resume of a killed batch reads them."""
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
        self._unforgotten: deque[Sequence[bytes]] = deque()
        """The entries of each `receive` that are still there."""
        self._entries: dict[AttemptId, tuple[int, ...]] = {}
        """In which entry of the stream an attempt was last sent."""
        self._paused = False
        self._mutex = threading.Lock()

    def open(self) -> None:
        """See `carrier.Sender`."""
        reached(self._url, self._open)

    def _open(self) -> None:
        with our_errors():
            for other in self._listed():
                if self._origin(other) is None:  # it has expired
                    self._redis.srem(self._keys.runs, other)
            self._enter()

    def _listed(self) -> list[str]:
        return sorted(texts(self._redis.smembers(self._keys.runs)))

    def _enter(self) -> None:
        """Begin with the execution."""
        self._begin()

    def _origin(self, name: str) -> bytes | None:
        """The token of the run that an execution is of."""
        with suppress(GoneError), our_errors():
            token: bytes | None = self._redis.get(self._keys.origin(name))
            return token
        return None

    def earlier(self) -> list[str]:
        """The other executions of the same run."""
        found: list[str] = []

        def look() -> None:
            with our_errors():
                found.extend(one for one in self._listed() if self._origin(one) == self._token.encode())

        reached(self._url, look)
        return [one for one in found if one != self.name]

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
                },
            )
            pipe.set(self._keys.origin(self.name), self._token)
            # The hash of claims has to exist before it can get a time to live; consumers do not give it one.
            pipe.hset(self._keys.claims(self.name), "0.0", RECALLED)
            self._keep(pipe)
            pipe.execute()
        self._ring(self._consumers())

    def _keep(self, pipe: Any) -> None:
        """Renew the lease."""
        lease = _PAUSED if self._paused else self._lease
        pipe.pexpire(self._keys.run(self.name), int(lease * 1000))
        for key in (self._keys.attempts, self._keys.claims):
            pipe.pexpire(key(self.name), int(lease * _KEPT * 1000))
        for key in (self._keys.reports, self._keys.origin):
            pipe.expire(key(self.name), _REPORTS_KEPT)
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
            clock = self.clock()
            alive = {name: about for name, about in zip(names, found, strict=True) if about is not None}
            if gone := [name for name in names if name not in alive]:
                self._redis.srem(self._keys.consumers, *gone)
        return Beat(alive, bool(forgotten), *clock)

    def clock(self) -> tuple[float, float, float]:
        """The broker's clock: (sent, at, received), as in a `carrier.Beat`."""
        sent = time.monotonic()
        with our_errors():
            whole, micro = self._redis.time()
        return sent, whole + micro / 1e6, time.monotonic()

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
                self._unforgotten.append([entry for entry, _ in entries] if self._trims else ())
        return found

    def forget(self, readings: int) -> None:
        """See `carrier.Sender`."""
        # not by an iterator: another thread appends
        if entries := [*chain.from_iterable(self._unforgotten[at] for at in range(readings))]:
            with our_errors():
                self._redis.xdel(self._keys.reports(self.name), *entries)
        for _ in range(readings):
            self._unforgotten.popleft()

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

    def retire(self, ids: Sequence[AttemptId]) -> Sequence[str]:
        """Have consumers end an execution whose coordinator is gone; whose these attempts are (`claim`). What was reported stays."""
        with our_errors():
            self._redis.delete(self._keys.run(self.name), self._keys.attempts(self.name))
            owners = self.claim(ids)
            self._redis.pexpire(self._keys.claims(self.name), int(self._lease * _KEPT * 1000))
            self._close_at_consumers(self.name)
        return owners

    def living(self, consumers: Sequence[str]) -> list[str]:
        """Which of these consumers live."""
        with our_errors():
            found = self._redis.mget([self._keys.consumer(one) for one in consumers]) if consumers else []
        return [name for name, about in zip(consumers, found, strict=True) if about is not None]

    def finish(self) -> None:
        """See `carrier.Sender`."""
        with our_errors():
            self._end(self.name)

    def _end(self, name: str) -> None:
        """Remove an execution: the lists first, so that no consumer begins with it again."""
        self._redis.srem(self._keys.runs, name)
        self._redis.delete(*self._keys.all_of(name))
        self._close_at_consumers(name)

    def _close_at_consumers(self, name: str) -> None:
        self.tell(self._consumers(), packed({"type": "close", "run": name}))

    def close(self) -> None:
        """See `carrier.Sender`."""
        self._redis.close()
