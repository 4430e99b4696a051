"""A look at a broker, and its tidying: which consumers there are, what waits; let consumers finish, remove what waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.queue import keys, messages
from manyhands.backends.queue.attempt_messages import ids_of
from manyhands.backends.queue.attempt_queue import AttemptQueue
from manyhands.backends.queue.brokers import attempt_queue
from manyhands.backends.queue.carrier import RECALLED, BrokerLostError, GoneError
from manyhands.backends.queue.messages import Message, NotOursError, packed
from manyhands.backends.queue.redis_connection import client, our_errors, reached, texts
from manyhands.backends.queue.run_settings import RunSettings
from manyhands.core.attempt import AttemptId
from manyhands.core.errors import UnavailableError
from manyhands.core.records import dataclass
from manyhands.work.broker_url import Broker

_READ: Final = 500


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """A consumer, as it has said of itself a moment ago."""

    name: str
    host: str
    pid: int
    slots: int
    running: Mapping[str, int]
    """Attempts that it has, by execution."""
    draining: bool
    commands: bool
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """An execution: ``waiting`` attempts that no consumer has, ``running`` ones that some have."""

    name: str
    waiting: int
    running: int
    paused: bool


class Inspection:
    """See the module's first lines. Raises UnavailableError, at the end of its block, too, if the broker cannot be used."""

    def __init__(self, broker: Broker) -> None:
        self._keys = keys.keys_for(broker.kind)
        self._url, self._broker = broker.store or broker.url, broker.url
        self._redis = client(self._url)
        self._queue: AttemptQueue | None = None if broker.kind == "redis" else attempt_queue(broker.kind, broker.url)

    def __enter__(self) -> Inspection:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._redis.close()
        if self._queue:
            self._queue.close()
        if isinstance(error, BrokerLostError):  # it was there a moment ago
            raise UnavailableError(f"the broker {self._url.url} cannot be used: {error}") from None

    def consumers(self) -> list[ConsumerStatus]:
        """The living ones."""
        return [*self._consumers()]

    def _consumers(self) -> Iterator[ConsumerStatus]:
        with our_errors():
            names = sorted(texts(self._redis.smembers(self._keys.consumers)))
            said = self._redis.mget([self._keys.consumer(name) for name in names]) if names else []
        for name, about in zip(names, said, strict=True):
            try:
                yield _status(name, messages.unpacked(about, "consumer"))
            except NotOursError:  # gone, or none of ours
                continue

    def runs(self, consumers: Sequence[ConsumerStatus]) -> list[RunStatus]:
        """The executions whose coordinators live, or did so a moment ago."""
        return [*self._runs(consumers)]

    def _runs(self, consumers: Sequence[ConsumerStatus]) -> Iterator[RunStatus]:
        with our_errors():
            names = sorted(texts(self._redis.smembers(self._keys.runs)))
        for name in names:
            with suppress(GoneError), our_errors():
                if (paused := self._redis.hget(self._keys.run(name), "paused")) is None:
                    continue
                waiting = self._waiting(name)
                running = sum(one.running.get(name, 0) for one in consumers)
                yield RunStatus(name, waiting, running, paused == b"1")

    def _waiting(self, run: str) -> int:
        if self._queue is None:
            return self._in_stream(run)
        found: list[int] = []
        queue = self._queue
        reached(self._broker, lambda: found.append(queue.count(run)))
        return found[0]

    def _in_stream(self, run: str) -> int:
        """How many attempts wait in a stream: in the parcels there, of which a batch has few; what was submitted travels one by one."""
        key, count, start = self._keys.attempts(run), 0, "-"
        with suppress(NotOursError):
            if RunSettings.parse(self._redis.hget(self._keys.run(run), "settings")).unattended:
                return int(self._redis.xlen(key))
        while page := self._redis.xrange(key, min=start, count=_READ):
            for _, fields in page:
                with suppress(NotOursError):  # the consumer that gets it says so
                    count += len(ids_of(fields.get(keys.FIELD)))
            start = "(" + page[-1][0].decode()
        return count

    def drain(self, names: Sequence[str]) -> None:
        """Have consumers finish what they have, and exit."""
        with our_errors():
            for name in names:
                self._redis.xadd(self._keys.control(name), {keys.FIELD: packed({"type": "drain"})})
                self._redis.pexpire(self._keys.control(name), 60_000)

    def purge(self, run: str) -> int:
        """Remove what waits of an execution: nobody does it; return how many attempts. Their coordinator is told."""
        removed: list[AttemptId] = []
        with our_errors():
            for message in self._taken(run):
                with suppress(NotOursError):
                    removed += [
                        id
                        for id in ids_of(message)
                        if self._redis.hsetnx(self._keys.claims(run), keys.attempt(id), RECALLED)
                    ]
            for at in range(0, len(removed), _READ):
                told = packed({"type": "purged", "ids": removed[at : at + _READ]})
                self._redis.xadd(self._keys.reports(run), {keys.FIELD: told}, nomkstream=True)
        return len(removed)

    def _taken(self, run: str) -> Iterator[object]:
        """All messages that wait, which no longer do."""
        if self._queue:
            yield from self._queue.drain(run)
            return
        for entry, fields in self._redis.xrange(self._keys.attempts(run)):
            self._redis.xdel(self._keys.attempts(run), entry)
            yield fields.get(keys.FIELD)


def _status(name: str, about: Message) -> ConsumerStatus:
    running: dict[str, Any] = messages.part(about, "running")
    return ConsumerStatus(
        name=name,
        host=messages.text(about, "host"),
        pid=messages.number(about, "pid"),
        slots=messages.number(about, "slots"),
        running={run: messages.number(running, run) for run in running},
        draining=messages.flag(about, "draining"),
        commands=messages.flag(about, "commands"),
        functions=messages.texts(about, "functions"),
    )
