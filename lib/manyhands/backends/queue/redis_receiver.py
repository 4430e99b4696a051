"""A consumer's end of Redis Streams; see `carrier.Receiver`, and `keys` for what is kept there."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from manyhands.backends.queue import keys, messages
from manyhands.backends.queue.carrier import Claim, GoneError, RunState, Taken
from manyhands.backends.queue.keys import Keys
from manyhands.backends.queue.redis_connection import client, number_of, our_errors, reached, streams, texts
from manyhands.core.attempt import AttemptId
from manyhands.work.broker_url import BrokerUrl

_LISTEN: Final = 100
_PATIENCE: Final = 1 / 8
"""The part of a lease that an answer is waited for: our lease must be seen to be over before others do our attempts."""
_SHORTEST: Final = 0.5
"""Seconds of that at least."""
_KEPT: Final = 2
"""Leases that the lists are kept without a sign of life of anybody."""
_CLAIM: Final = """
local found = {}
if redis.call('EXISTS', KEYS[2]) == 0 then return string.rep('x', select(2, string.gsub(ARGV[2], '[^,]+', ''))) end
for id in string.gmatch(ARGV[2], '[^,]+') do
    if redis.call('HSETNX', KEYS[1], id, ARGV[1]) == 1 then found[#found + 1] = 'n'
    elseif redis.call('HGET', KEYS[1], id) == ARGV[1] then found[#found + 1] = 'o'
    else found[#found + 1] = 'x' end
end
return table.concat(found)
"""
"""Claims all of these attempts for one consumer, unless the lease of the batch is over: one command, with one argument and one answer, because each
costs as much as a short job."""
_OLDEST: Final = """
local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
return found[1] and found[1][1]
"""
"""The id of the first entry, without what may be large in it."""
_MOST_REPORTED: Final = 1024
_CLAIMS: Final = {ord("n"): Claim.NEW, ord("o"): Claim.OURS, ord("x"): Claim.OTHERS}


class RedisReceiver:
    """The end of the consumer ``name``. Raises UnavailableError if the broker cannot be used."""

    def __init__(self, url: BrokerUrl, name: str, lease: float, names: Keys = keys.REDIS) -> None:
        self._keys = names
        self._name, self._lease = name, lease
        self._patience = max(_SHORTEST, min(10.0, lease * _PATIENCE))
        self._redis = client(url, self._patience)
        self._heard = b"0"
        self._together = 1.0
        """Attempts in a parcel, about."""
        self._reported: dict[str, deque[tuple[int, ...]]] = {}
        """Our entries in the reports of an execution that may still be there."""
        reached(url, self._check)

    def _check(self) -> None:
        with our_errors():
            self._redis.ping()

    def renew(self, about: bytes, runs: Collection[str]) -> Mapping[str, RunState | None]:
        """See `carrier.Receiver`."""
        lease = int(self._lease * 1000)
        with our_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.set(self._keys.consumer(self._name), about, px=lease)
            pipe.sadd(self._keys.consumers, self._name)
            pipe.pexpire(self._keys.consumers, lease * _KEPT)
            pipe.pexpire(self._keys.control(self._name), lease * _KEPT)
            for run in runs:
                pipe.hmget(self._keys.run(run), "incarnation", "paused")
            said = pipe.execute(raise_on_error=False)
            ours, states = said[:4], said[4:]
            if error := next((one for one in ours if isinstance(one, Exception)), None):
                raise error
        return {run: _state(*one) if isinstance(one, list) else None for run, one in zip(runs, states, strict=True)}

    def runs(self) -> set[str]:
        """See `carrier.Receiver`."""
        with our_errors():
            return texts(self._redis.smembers(self._keys.runs))

    def settings(self, run: str) -> RunState | None:
        """See `carrier.Receiver`."""
        with suppress(GoneError), our_errors():
            return _state(*self._redis.hmget(self._keys.run(run), "incarnation", "paused", "settings"))
        return None

    def take(self, runs: Sequence[str], room: int, timeout: float) -> Sequence[Taken]:
        """See `carrier.Receiver`: in turn from each, then waiting for all."""
        found: list[Taken] = []
        for run in runs:
            if len(found) < (most := max(1, int(room / self._together))):
                found += self._read([run], most - len(found), None)
        if not found and runs and timeout > 0:
            found += self._read(runs[:room], 1, max(1, int(timeout * 1000)))
        return found

    def _read(self, runs: Sequence[str], count: int, block: int | None) -> list[Taken]:
        """Nothing is noted as pending: what was read and not claimed is sent again by its coordinator."""
        names = {self._keys.attempts(run): run for run in runs}
        with suppress(GoneError), our_errors():
            answer = self._redis.xreadgroup(
                keys.GROUP, self._name, dict.fromkeys(names, ">"), count=count, block=block, noack=True
            )
            return [
                Taken(names[key], entry, fields.get(keys.FIELD))
                for key, entries in streams(answer)
                for entry, fields in entries
            ]
        return []

    def put_back(self, taken: Sequence[Taken]) -> None:
        """See `carrier.Receiver`."""
        with our_errors(), self._redis.pipeline(transaction=False) as pipe:
            for one in taken:
                pipe.xdel(self._keys.attempts(one.run), one.entry)
                if isinstance(one.data, bytes):
                    pipe.xadd(self._keys.attempts(one.run), {keys.FIELD: one.data}, nomkstream=True)
            pipe.execute()

    def claim(self, run: str, ids: Sequence[AttemptId], entries: Sequence[object] = ()) -> Sequence[Claim]:
        """See `carrier.Receiver`."""
        with our_errors(), self._redis.pipeline(transaction=False) as pipe:
            if entries:
                pipe.xdel(self._keys.attempts(run), *dict.fromkeys(entries))
            if ids:
                where = self._keys.claims(run), self._keys.run(run)
                pipe.eval(_CLAIM, len(where), *where, self._name, ",".join(map(keys.attempt, ids)))
            found = pipe.execute()
        if ids and entries:
            self._together = len(ids) / len({*entries})
        return [_CLAIMS[one] for one in found[-1]] if ids else []

    def report(self, run: str, reports: Sequence[bytes]) -> int | None:
        """See `carrier.Receiver`."""
        with suppress(GoneError), our_errors(), self._redis.pipeline(transaction=False) as pipe:
            for part in messages.parcels(reports):
                pipe.xadd(self._keys.reports(run), {keys.FIELD: messages.parcel(part)}, nomkstream=True)
            pipe.eval(_OLDEST, 1, self._keys.reports(run))
            *entries, oldest = pipe.execute()
            if None not in entries:
                return self._waiting(run, entries, oldest)
        return None

    def _waiting(self, run: str, entries: Sequence[bytes], oldest: bytes | None) -> int:
        """How many of ours are not forgotten, now that we have added some: a coordinator forgets them in their order."""
        ours = self._reported.setdefault(run, deque(maxlen=_MOST_REPORTED))
        ours.extend(map(number_of, entries))
        first = number_of(oldest) if oldest else (1 << 62,)
        while ours and ours[0] < first:
            ours.popleft()
        return len(ours)

    def over(self, run: str, ids: Sequence[AttemptId] | None) -> None:
        """See `carrier.Receiver`: the claims say it all."""
        if ids is None:
            self._reported.pop(run, None)

    def listen(self, timeout: float) -> Sequence[object]:
        """See `carrier.Receiver`."""
        key = self._keys.control(self._name)
        timeout = min(timeout, self._patience / 2)
        found: list[object] = []
        with our_errors():
            answer = self._redis.xread({key: self._heard}, count=_LISTEN, block=max(1, int(timeout * 1000)))
            for _, entries in streams(answer):
                self._heard = entries[-1][0]
                found += [fields.get(keys.FIELD) for _, fields in entries]
                self._redis.xdel(key, *(entry for entry, _ in entries))
        return found

    def interrupt(self) -> None:
        """See `carrier.Receiver`."""
        with our_errors():
            self._redis.xadd(self._keys.control(self._name), {keys.FIELD: b'{"type":"runs"}'})

    def leave(self) -> None:
        """See `carrier.Receiver`."""
        with our_errors():
            self._redis.srem(self._keys.consumers, self._name)
            self._redis.delete(self._keys.consumer(self._name), self._keys.control(self._name))

    def close(self) -> None:
        """See `carrier.Receiver`."""
        self._redis.close()


def _state(incarnation: bytes | None, paused: bytes | None, settings: bytes | None = None) -> RunState | None:
    if incarnation is None:
        return None
    return RunState(incarnation.decode("ascii", "replace"), paused == b"1", settings)
