"""A look at a broker, and its tidying: which consumers there are, what waits; let consumers finish, remove what waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.queue import keys, messages
from manyhands.backends.queue.carrier import RECALLED, GoneError
from manyhands.backends.queue.messages import Message, NotOursError, packed
from manyhands.backends.queue.redis_connection import client, our_errors, reached, texts
from manyhands.core.attempt import AttemptId
from manyhands.core.records import dataclass
from manyhands.work.broker_url import BrokerUrl

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


class RedisInspection:
    """See the module's first lines. Raises UnavailableError if the broker cannot be used."""

    def __init__(self, url: BrokerUrl) -> None:
        self._redis = client(url)
        self._url = url

    def __enter__(self) -> RedisInspection:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def consumers(self) -> list[ConsumerStatus]:
        """The living ones."""
        found: list[ConsumerStatus] = []
        reached(self._url, lambda: found.extend(self._consumers()))
        return found

    def _consumers(self) -> Iterator[ConsumerStatus]:
        with our_errors():
            names = sorted(texts(self._redis.smembers(keys.CONSUMERS)))
            said = self._redis.mget([keys.consumer(name) for name in names]) if names else []
        for name, about in zip(names, said, strict=True):
            try:
                yield _status(name, messages.unpacked(about, "consumer"))
            except NotOursError:  # gone, or none of ours
                continue

    def runs(self, consumers: Sequence[ConsumerStatus]) -> list[RunStatus]:
        """The executions whose coordinators live, or did so a moment ago."""
        found: list[RunStatus] = []
        reached(self._url, lambda: found.extend(self._runs(consumers)))
        return found

    def _runs(self, consumers: Sequence[ConsumerStatus]) -> Iterator[RunStatus]:
        with our_errors():
            names = sorted(texts(self._redis.smembers(keys.RUNS)))
        for name in names:
            with suppress(GoneError), our_errors():
                if (paused := self._redis.hget(keys.run(name), "paused")) is None:
                    continue
                waiting = int(self._redis.xlen(keys.attempts(name)))
                running = sum(one.running.get(name, 0) for one in consumers)
                yield RunStatus(name, waiting, running, paused == b"1")

    def drain(self, names: Sequence[str]) -> None:
        """Have consumers finish what they have, and exit."""
        with our_errors():
            for name in names:
                self._redis.xadd(keys.control(name), {keys.FIELD: packed({"type": "drain"})})
                self._redis.pexpire(keys.control(name), 60_000)

    def purge(self, run: str) -> int:
        """Remove what waits of an execution: nobody does it; return how many attempts. Their coordinator is told."""
        removed: list[AttemptId] = []
        with our_errors():
            for entry, fields in self._redis.xrange(keys.attempts(run)):
                self._redis.xdel(keys.attempts(run), entry)
                try:
                    id = messages.attempt_id(messages.unpacked(fields.get(keys.FIELD), "attempt"))
                except NotOursError:
                    continue
                if self._redis.hsetnx(keys.claims(run), keys.attempt(id), RECALLED):
                    removed.append(id)
            for at in range(0, len(removed), _READ):
                told = packed({"type": "purged", "ids": removed[at : at + _READ]})
                self._redis.xadd(keys.reports(run), {keys.FIELD: told}, nomkstream=True)
        return len(removed)


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
