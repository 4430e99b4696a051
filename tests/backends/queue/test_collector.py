"""A coordinator that comes later: what has ended, what runs, what waits and what is lost, with a real Redis; consumers are mostly played."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backends.test_command_backends import Bench
from conftest import children, wait_for
from manyhands.backends.protocol import Ended, Noted, is_lasting
from manyhands.backends.queue import coordinator, courier, hosted_run, keys, reports
from manyhands.backends.queue.allowed import Allowed
from manyhands.backends.queue.carrier import Arrived
from manyhands.backends.queue.collector import Collector
from manyhands.backends.queue.consumer import Consumer, ConsumerSettings
from manyhands.backends.queue.lasting_sender import LastingSender
from manyhands.backends.queue.redis_receiver import RedisReceiver
from manyhands.backends.registry import open_backend
from manyhands.backends.settings import CommandSettings
from manyhands.core.attempt import Attempt, Ending, Job, Output
from manyhands.core.errors import JournalError, UsageError
from manyhands.work.submitted import Submitted, parse_keep_in_broker
from redis_servers import Consumer as Working
from redis_servers import RedisServer

NAME = "r-0123"
LEASE = 1.0
pytestmark = pytest.mark.usefixtures("nothing_left")


class Desk(Bench):
    """A bench over a collector, with a consumer called ``gone`` that has left its words in the broker."""

    backend: Collector

    def __init__(self, backend: Collector, server: RedisServer) -> None:
        super().__init__(backend)
        self.server = server

    def notes(self) -> str:
        return "\n".join(one.text for one in self.reports if isinstance(one, Noted))

    def ends(self) -> dict[int, Ending]:
        return {one.attempt.job.number: one.ending for one in self.reports if isinstance(one, Ended)}

    def look(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.take(0.05)

    def waiting(self) -> int:
        with self.server.client() as redis:
            return int(redis.xlen(keys.REDIS.attempts(NAME)))


def claimed(server: RedisServer, job: int) -> None:
    with server.client() as redis:
        redis.hset(keys.REDIS.claims(NAME), keys.attempt((job, 1)), "gone")


def ended(server: RedisServer, job: int) -> None:
    """The consumer has done the first attempt of a job, and has said so."""
    claimed(server, job)
    attempt = Attempt(Job(job, b"k", (b"x",)), 1, (b"true",))
    end = Ended(attempt, 5.0, Ending(exit=0, stdout=Output(b"%d" % job, None, 1, 0)))
    with server.client() as redis:
        redis.xadd(keys.REDIS.reports(NAME), {keys.FIELD: reports.ended("gone", end, 5.0, stopped=False)})


Make = Callable[..., Desk]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes collectors of one execution, one after another; closes them."""
    made: list[Desk] = []

    def collector(server: RedisServer, **settings: Any) -> Desk:
        given: dict[str, Any] = {
            "slots": 1,
            "outputs": tmp_path,
            "token": f"collected{os.getpid()}",
            "environment": {},
            "workdir": tmp_path,
            "broker": server.parsed,
            "lease": LEASE,
            "submitted": Submitted(NAME, 3600.0),
        }
        backend = open_backend("redis", CommandSettings(**given | settings))
        assert isinstance(backend, Collector)
        made.append(Desk(backend, server))
        return made[-1]

    yield collector
    for one in made:
        one.backend.close()


@pytest.fixture
def left(redis_url: RedisServer, make: Make) -> RedisServer:
    """A server with an execution that nobody looks after."""
    make(redis_url).backend.close()
    return redis_url


def test_what_has_ended_is_heard_by_each(left: RedisServer, make: Make) -> None:
    """The reports stay until all is collected, for one that comes after a collector that was killed; then nothing is left."""
    ended(left, 1)
    for _ in range(2):
        desk = make(left)
        assert is_lasting(desk.backend)
        assert desk.run("true").ending.stdout.data == b"1"
        desk.backend.close()
        assert keys.REDIS.run(NAME) in left.names()
    desk = make(left)
    desk.backend.collected()
    desk.backend.close()
    assert left.names() == []


def test_what_waits_is_not_sent_again(left: RedisServer, make: Make) -> None:
    """Nor what is claimed; what is neither is sent."""
    desk = make(left)
    desk.start("true")
    desk.until(lambda: desk.waiting() == 1)
    desk.backend.close()
    claimed(left, 2)
    desk = make(left, lease=60.0)
    for _ in range(3):
        desk.start("true")
    desk.until(lambda: desk.waiting() == 2)
    desk.look(0.5)
    assert desk.waiting() == 2
    assert desk.ends() == {}


def test_a_consumer_that_has_gone(left: RedisServer, make: Make) -> None:
    """Of its attempts those are lost of which it has reported no end."""
    claimed(left, 1)
    ended(left, 2)
    desk = make(left)
    lost, well = desk.start("true"), desk.start("true")
    assert desk.end_of(well).ending.exit == 0
    assert desk.end_of(lost).ending.error == "consumer gone was lost: it gave no sign of life"


def test_nothing_is_lost_while_nothing_is_taken(left: RedisServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the ends may be slow: they wait in the broker, and then count, although their consumer has long gone."""
    monkeypatch.setattr(courier, "_LISTEN", 0.05)
    claimed(left, 1)
    desk = make(left)
    one = desk.start("true")
    desk.backend.hold(True)
    desk.look(4 * LEASE)
    ended(left, 1)
    desk.look(0.5)
    assert desk.ends() == {}
    desk.backend.hold(False)
    assert desk.end_of(one).ending.exit == 0


def test_nothing_is_lost_before_all_is_read(left: RedisServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was reported while nobody was here, and however long it takes to read it."""
    receive, read_on = LastingSender.receive, threading.Event()

    def slow(self: LastingSender, timeout: float) -> Sequence[Arrived]:
        return receive(self, timeout) if read_on.wait(0.05) else ()

    monkeypatch.setattr(LastingSender, "receive", slow)
    ended(left, 1)
    desk = make(left)
    one = desk.start("true")
    desk.look(4 * LEASE)
    assert desk.ends() == {}
    read_on.set()
    assert desk.end_of(one).ending.exit == 0


def test_the_clock_of_the_broker_is_known_before_days_old_reports_are_read(left: RedisServer, make: Make) -> None:
    """They say when something was by that clock."""
    desk = make(left)
    assert abs(desk.backend._clock.here(time.time()) - time.monotonic()) < 60


def test_what_consumers_still_have_of_an_emptied_broker_is_not_sent(left: RedisServer, make: Make) -> None:
    """They are given some time to say so, once the execution has been made anew."""
    with left.client() as redis:
        redis.flushall()
    desk = make(left, lease=4.0)
    desk.start("true")
    desk.start("true")
    desk.look(0.5)
    claimed(left, 1)
    desk.until(lambda: desk.waiting() == 1)
    desk.look(0.5)
    assert desk.waiting() == 1


def test_a_broker_that_is_silent_ends_nothing(left: RedisServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs go on without us: we wait for it, however long; what was to be stopped is lost."""
    monkeypatch.setattr(coordinator, "_LEAST_UNHEARD", 0.0)
    desk = make(left)
    one = desk.start("true")
    desk.backend._look_at_outage(1e6)
    desk.backend.stop([one])
    desk.backend._look_at_outage(1e6)
    desk.reports += desk.backend.reports(0)
    assert "could not be stopped" in (desk.end_of(one).ending.error or "")


def test_a_broker_that_is_restarted(redis_server: RedisServer, make: Make, environment: dict[str, str]) -> None:
    """Without its data: the execution is made anew, and everything is sent again."""
    desk = make(redis_server)
    one = desk.start("echo", "well")
    desk.until(lambda: desk.waiting() == 1)
    redis_server.kill()
    desk.until(lambda: "does not answer" in desk.notes())
    redis_server.start()
    consumer = Working(redis_server, environment, "--allow-commands", cwd=desk.backend.settings.outputs)
    try:
        assert desk.end_of(one).ending.stdout.data == b"well\n"
    finally:
        consumer.close()


def test_a_consumer_gives_back_what_it_does_not_need(
    left: RedisServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that nobody is there for it has processes only while there is something to do."""
    monkeypatch.setattr(hosted_run, "_RESTING", 0.1)
    desk = make(left)
    settings = ConsumerSettings(name="here", slots=1, allowed=Allowed((), True), lease=LEASE)
    consumer = Consumer(settings, RedisReceiver(left.parsed, "here", LEASE), print)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        for _ in range(2):
            wait_for(lambda: "here" in consumer_names(left) and not children(), 30)
            assert desk.run("true").ending.exit == 0
    finally:
        consumer.drain()
        thread.join()


def consumer_names(server: RedisServer) -> str:
    with server.client() as redis:
        return repr(redis.smembers(keys.REDIS.consumers))


def test_the_list_of_executions_is_kept_as_long_as_the_longest(left: RedisServer, make: Make, tmp_path: Path) -> None:
    """Also if a batch renews it every second; and names of executions that have gone are taken off it."""
    with left.client() as redis:
        redis.sadd(keys.REDIS.runs, "dead-1")
        other = CommandSettings(
            slots=1, outputs=tmp_path, token="t", environment={}, workdir=tmp_path, broker=left.parsed, lease=LEASE
        )
        backend = open_backend("redis", other)
        try:
            assert redis.sismember(keys.REDIS.runs, NAME)
            assert not redis.sismember(keys.REDIS.runs, "dead-1")
            assert redis.ttl(keys.REDIS.runs) > 90 * 86_400
        finally:
            backend.close()
        for name in keys.REDIS.all_of(NAME):
            assert 3000 < redis.ttl(name) <= 3600
    wait_for(lambda: keys.REDIS.runs in left.names())


@pytest.mark.parametrize("text", ["1s", "91d", "x", "-1"])
def test_how_long_it_is_kept_is_checked(text: str) -> None:
    """A minute to ninety days."""
    with pytest.raises(UsageError, match=r"keep.in.broker"):
        parse_keep_in_broker(text)
    assert parse_keep_in_broker("7d") == 7 * 86_400


def test_what_a_run_keeps_of_it() -> None:
    """Nothing, a null after it was collected, or a name and a time; anything else is damage."""
    assert Submitted.of({}) is Submitted.of({"submitted": None}) is None
    assert Submitted.of(Submitted(NAME, 60.0).to_json()) == Submitted(NAME, 60.0)
    with pytest.raises(JournalError, match="damaged"):
        Submitted.of({"submitted": {"name": "x"}})
