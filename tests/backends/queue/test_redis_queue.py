"""Attempts through a real Redis: consumers, coordinators and brokers are killed, stopped, emptied; by the jobs' own ledgers all is well."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.test_command_backends import Bench
from conftest import wait_for, with_tag
from manyhands.backends.protocol import Ended, Noted, Started
from manyhands.backends.queue import keys
from manyhands.backends.queue.coordinator import Queued
from manyhands.backends.queue.inspection import Inspection
from manyhands.backends.registry import open_backend
from manyhands.backends.settings import CommandSettings
from manyhands.core.errors import ManyhandsError, UnavailableError
from manyhands.work.broker_url import Broker
from redis_servers import Consumer, RedisServer

LEASE = 2.0
LONG_LEASE = 20.0
"""One that a busy machine does not let pass while a broker starts again."""
TOKEN = f"queue{os.getpid()}"
pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("nothing_left")]


class Queue(Bench):
    """A bench over a queue."""

    backend: Queued

    @property
    def run_name(self) -> str:
        return self.backend._sender.name

    def notes(self) -> list[str]:
        return [one.text for one in self.reports if isinstance(one, Noted)]

    def ends(self) -> list[Ended]:
        return [one for one in self.reports if isinstance(one, Ended)]

    def begun(self) -> int:
        return sum(isinstance(one, Started) for one in self.reports)

    def look(self, seconds: float) -> None:
        """Take reports for some time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.take(0.05)


Make = Callable[..., Queue]
Consume = Callable[..., Consumer]


@pytest.fixture
def consume(environment: dict[str, str], tmp_path: Path) -> Iterator[Consume]:
    """Starts consumers of commands with a short lease; ends them."""
    started: list[Consumer] = []

    def start(server: RedisServer, *args: str, slots: int = 2, wait: bool = True, lease: float = LEASE) -> Consumer:
        more = ["--slots", str(slots), "--lease", str(lease), *(args or ["--allow-commands"])]
        started.append(Consumer(server, environment, *more, cwd=tmp_path))
        if wait:
            started[-1].wait_until_ready()
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes coordinators; closes them."""
    made: list[Queue] = []

    def queue(server: RedisServer, **settings: Any) -> Queue:
        given: dict[str, Any] = {
            "slots": 100,
            "outputs": tmp_path,
            "token": f"{TOKEN}-{len(made)}",
            "environment": {},
            "workdir": tmp_path,
        }
        given |= {"grace": 0.3, "broker": server.parsed, "lease": LEASE, **settings}
        backend = open_backend("redis", CommandSettings(**given))
        assert isinstance(backend, Queued)
        made.append(Queue(backend))
        return made[-1]

    yield queue
    for one in made:
        one.backend.close()


# -- in good order -------------------------------------------------------------------------------------------------------


def test_nothing_is_left_in_the_broker(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """Neither of a batch that has ended, nor of a consumer; the keys have readable names."""
    consumer = consume(redis_url)
    bench = make(redis_url, environment={b"MH_RUN": b"nightly"})
    running = bench.sh("sleep 60")
    bench.start_of(running)
    names = redis_url.names()
    assert bench.run_name.startswith("nightly-")
    assert {f"manyhands:{bench.run_name}", f"manyhands:{bench.run_name}:reports", "manyhands:runs"} <= set(names)
    assert all(one.startswith("manyhands:") for one in names)
    bench.backend.close()
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}"))
    assert not [one for one in redis_url.names() if bench.run_name in one or one == "manyhands:runs"]
    assert consumer.end() == 0
    assert redis_url.names() == []


def test_a_consumer_that_comes_late(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """The jobs wait, which is said once; then they are done."""
    bench = make(redis_url)
    waiting = bench.sh("echo well")
    bench.look(2.6)
    bench.look(0.5)
    (note,) = bench.notes()
    assert "no consumer" in note
    consume(redis_url)
    assert bench.end_of(waiting).ending.stdout.data == b"well\n"
    assert len(bench.notes()) == 1


def test_what_waits_for_a_consumer_can_be_stopped(redis_url: RedisServer, make: Make) -> None:
    """Nobody has it: it has not begun, and a consumer that comes later does not do it."""
    bench = make(redis_url)
    waiting = [bench.sh("echo never") for _ in range(5)]
    bench.look(0.3)
    bench.backend.recall(waiting[:2])
    bench.backend.stop(waiting[2:])
    assert not any(bench.end_of(one).began for one in waiting)


def test_two_runs_share_a_consumer(redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """Each gets its reports, and the second does not wait for the end of the first."""
    consume(redis_url)
    first, second = make(redis_url), make(redis_url)
    many = [first.sh(f"[ -e {tmp_path}/go ] || sleep 0.1; echo first") for _ in range(80)]
    first.start_of(many[0])
    few = [second.sh("echo second") for _ in range(3)]
    assert all(second.end_of(one).ending.stdout.data == b"second\n" for one in few)
    first.look(0)
    assert len(first.ends()) < len(many)
    (tmp_path / "go").touch()
    assert all(first.end_of(one).ending.stdout.data == b"first\n" for one in many)


def test_no_more_at_once_than_wanted(redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """On all consumers together."""
    consume(redis_url)
    consume(redis_url)
    bench = make(redis_url, slots=3)
    for _ in range(8):
        bench.sh(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done")
    bench.until(lambda: bench.begun() >= 3)
    bench.look(0.3)
    assert bench.begun() == 3
    (tmp_path / "go").touch()
    bench.until(lambda: len(bench.ends()) == 8)


def test_a_stop_reaches_the_consumer_at_once(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """Also while all its slots are busy."""
    consume(redis_url)
    bench = make(redis_url)
    running = [bench.sh("sleep 60") for _ in range(2)]
    for one in running:
        bench.start_of(one)
    bench.backend.stop([running[0]])
    assert bench.end_of(running[0]).ending.signal == signal.SIGTERM


def test_a_large_output_comes_in_pieces(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """It is whole, bytes that are no text, too, and never more than a part of it is in the broker."""
    consume(redis_url)
    bench = make(redis_url)
    large = bench.sh("head -c 120000000 /dev/urandom | tee copy | md5sum >&2; cat copy")
    other = bench.sh("sleep 0.5; echo fine")
    most = 0
    with redis_url.client() as redis:
        while not any(isinstance(one, Ended) and one.attempt == large for one in bench.reports):
            bench.look(0.05)
            most = max(most, redis.memory_usage(keys.REDIS.reports(bench.run_name)) or 0)
    end = bench.end_of(large).ending
    assert end.stdout.size == 120_000_000
    assert len(end.stdout.read()) == 120_000_000
    assert most < 120_000_000
    assert bench.end_of(other).ending.stdout.data == b"fine\n"


# -- consumers are lost --------------------------------------------------------------------------------------------------


def test_a_killed_consumer(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """Its jobs end with it, and are lost when its lease is over; what had not begun is done by another."""
    doomed = consume(redis_url)
    bench = make(redis_url)
    running = [bench.sh("sleep 60") for _ in range(2)]
    for one in running:
        bench.start_of(one)
    doomed.process.kill()
    consume(redis_url)
    other = bench.sh("echo other")
    assert bench.end_of(other).ending.stdout.data == b"other\n"
    ends = [bench.end_of(one) for one in running]
    assert all((end.ending.exit, end.ending.signal, end.began) == (None, None, True) for end in ends)
    assert all("was lost" in (end.ending.error or "") for end in ends)
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}-0.1.1"))


def test_a_slow_consumer_is_not_lost(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """A job may take longer than two leases."""
    consume(redis_url)
    bench = make(redis_url)
    assert bench.end_of(bench.sh(f"sleep {2.5 * LEASE}; echo well")).ending.stdout.data == b"well\n"
    assert bench.notes() == []


def test_a_stopped_consumer(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """Its jobs are lost after its lease; when it goes on, it kills them, and what it reports late is ignored."""
    consumer = consume(redis_url)
    bench = make(redis_url)
    running = bench.sh("sleep 60")
    bench.start_of(running)
    consumer.process.send_signal(signal.SIGSTOP)
    assert "was lost" in (bench.end_of(running).ending.error or "")
    again = bench.start("sh", "-c", "echo again", number=1, attempt=2)
    consumer.process.send_signal(signal.SIGCONT)
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}-0.1.1"))
    assert bench.end_of(again).ending.stdout.data == b"again\n"
    bench.look(0.5)
    assert len(bench.ends()) == 2
    assert "what runs is killed" in consumer.said


def test_a_consumer_that_is_stopped_by_hand(redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """The first TERM lets its jobs end, the second kills them, and they are lost."""
    first = consume(redis_url)
    bench = make(redis_url)
    running = bench.sh(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo well")
    bench.start_of(running)
    first.process.terminate()
    wait_for(lambda: "draining" in first.said)
    waiting = bench.sh("sleep 60")
    (tmp_path / "go").touch()
    assert bench.end_of(running).ending.stdout.data == b"well\n"
    assert first.process.wait(10) == 0
    second = consume(redis_url)
    bench.start_of(waiting)
    second.process.terminate()
    wait_for(lambda: "draining" in second.said)
    second.process.terminate()
    assert "was stopped" in (bench.end_of(waiting).ending.error or "")
    assert second.process.wait(10) == 0


# -- messages that are not ours ------------------------------------------------------------------------------------------

POISON: list[dict[str, Any]] = [
    {"message": "5"},
    {"message": "null"},
    {"message": b"\x80\x05K\x05."},
    {"message": "[" * 100_000},
    {"message": '{"type":"attempts"}'},
    {"message": '{"type":"attempts","rows":[]}'},
    {"message": '{"type":"attempts","rows":[[7,1]]}'},
    {"message": '{"type":"attempts","rows":[[true,1,["true"]]]}'},
    {"message": '{"type":"attempts","rows":[[1e999,1,["true"]]]}'},
    {"message": '{"type":"attempts","rows":[[7,1,[]]]}'},
    {"message": '{"type":"attempts","rows":[[7,1,[[["x"]]]]]}'},
    {"message": '{"type":"attempts","rows":[[7,1,["\\ud800"]]]}'},
    {"message": '{"type":"attempts","rows":[[7,1,{"a":1}]]}'},
    {"message": '{"type":"ends","consumer":"c","job":[1]}'},
    {"message": "x" * 20_000_000},
    {"other": "field"},
]


def test_messages_that_are_not_ours_are_set_aside(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """In every stream, and as settings: they kill and block no consumer, nor one that starts later, nor a batch."""
    consumer = consume(redis_url)
    bench = make(redis_url)
    with redis_url.client() as redis:
        redis.sadd(keys.REDIS.runs, "broken", b"\xff\xfe", "../../x", "wrong")
        redis.hset(keys.REDIS.run("broken"), mapping={"incarnation": "x", "settings": "5", "paused": "0"})
        redis.hset(keys.REDIS.run("../../x"), mapping={"incarnation": "x", "settings": '{"type":"run"}', "paused": "0"})
        redis.set(keys.REDIS.run("wrong"), "no hash")
        for one in POISON:
            redis.xadd(keys.REDIS.attempts(bench.run_name), one)
            redis.xadd(keys.REDIS.control(consumer.wait_until_ready()), one)
            redis.xadd(keys.REDIS.reports(bench.run_name), one)
    assert bench.run("echo", "well").ending.stdout.data == b"well\n"
    consumer.process.kill()
    later = consume(redis_url)
    assert bench.run("echo", "more").ending.stdout.data == b"more\n"
    assert bench.end_of(bench.sh("true")).ending.exit == 0
    assert consumer.said.count("set aside: a message") == len(POISON)
    assert later.said.count("set aside: a message") == 0
    assert later.said.count("set aside: the settings") == 2
    assert sum("set aside" in note for note in bench.notes()) == len(POISON)


def test_a_copy_of_an_attempt_runs_nothing(redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """Neither while the first is running, nor when it has ended; nor on another consumer."""
    consume(redis_url)
    bench = make(redis_url)
    script = f"echo ran >>{tmp_path}/ledger; until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    one = bench.sh(script)
    argv = ["sh", "-c", script]
    copy = keys.FIELD, json.dumps({"type": "attempts", "rows": [[1, 1, argv]]}).encode()
    bench.start_of(one)
    with redis_url.client() as redis:
        for _ in range(3):
            redis.xadd(keys.REDIS.attempts(bench.run_name), dict([copy]))
        bench.look(0.3)
        (tmp_path / "go").touch()
        bench.end_of(one)
        consume(redis_url)
        for _ in range(3):
            redis.xadd(keys.REDIS.attempts(bench.run_name), dict([copy]))
        bench.until(lambda: redis.xlen(keys.REDIS.attempts(bench.run_name)) == 0)
        bench.look(0.3)
    assert (tmp_path / "ledger").read_text() == "ran\n"
    assert len(bench.ends()) == 1


# -- the broker fails ----------------------------------------------------------------------------------------------------


def ledger_script(tmp_path: Path, seconds: float) -> str:
    return f"echo $MH_JOB >>{tmp_path}/ledger; sleep {seconds}; echo $MH_JOB"


def all_done_once(bench: Queue, attempts: list[Any], tmp_path: Path) -> None:
    """By the jobs' own ledger."""
    for one in attempts:
        end = bench.end_of(one)
        assert end.ending.stdout.data == b"%d\n" % one.job.number, end
    ran = Counter((tmp_path / "ledger").read_text().split())
    assert ran == Counter({str(one.job.number): 1 for one in attempts})


def test_a_broker_that_is_emptied(redis_server: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """What runs goes on, what waits is sent again: every job is done, once."""
    consume(redis_server, lease=LONG_LEASE)
    consume(redis_server, lease=LONG_LEASE)
    bench = make(redis_server, lease=LONG_LEASE)
    attempts = [bench.sh(ledger_script(tmp_path, 0.4)) for _ in range(30)]
    for _ in range(2):
        bench.look(1.0)
        with redis_server.client() as redis:
            redis.flushall()
    all_done_once(bench, attempts, tmp_path)
    assert any("has lost its memory" in note for note in bench.notes())


def test_a_broker_that_is_killed(redis_server: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """It comes back, empty, within the lease: every job is done, once, and both ends connect again."""
    consume(redis_server, lease=LONG_LEASE)
    consume(redis_server, lease=LONG_LEASE)
    bench = make(redis_server, lease=LONG_LEASE)
    attempts = [bench.sh(ledger_script(tmp_path, 0.3)) for _ in range(20)]
    bench.look(0.8)
    redis_server.kill()
    bench.look(0.7)
    redis_server.start()
    all_done_once(bench, attempts, tmp_path)
    assert [note for note in bench.notes() if "answers again" in note]


def test_a_broker_that_is_away_for_longer_than_the_lease(redis_server: RedisServer, make: Make, consume: Consume) -> None:
    """What runs is killed there, and lost here; what waits is done."""
    consume(redis_server, slots=1)
    bench = make(redis_server)
    running, waiting = bench.sh("sleep 60"), bench.sh("echo well")
    bench.start_of(running)
    redis_server.kill()
    bench.look(LEASE + 1)
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}-0.1.1"))
    redis_server.start()
    assert "no word of the broker" in (bench.end_of(running).ending.error or "")
    assert bench.end_of(running).ending.signal is None
    assert bench.end_of(waiting).ending.stdout.data == b"well\n"


def test_a_consumer_that_is_to_end_while_the_broker_is_away(
    redis_server: RedisServer, make: Make, consume: Consume
) -> None:
    """It waits a lease for the broker, to say what has ended; then nobody waits for that any more. One signal is enough."""
    consumer = consume(redis_server)
    bench = make(redis_server)
    bench.start_of(bench.sh("sleep 0.3"))
    redis_server.kill()
    consumer.process.terminate()
    assert consumer.process.wait(60) == 0
    assert "without a word of the broker" in consumer.said


def test_a_stop_while_the_broker_is_away(redis_server: RedisServer, make: Make, consume: Consume) -> None:
    """The batch does not wait for it: what runs is lost, what was not sent has not begun."""
    consume(redis_server)
    bench = make(redis_server, slots=1)
    running, waiting = bench.sh("sleep 60"), bench.sh("true")
    bench.start_of(running)
    redis_server.kill()
    bench.look(0.5)
    bench.backend.stop([running, waiting])
    assert "could not be stopped" in (bench.end_of(running).ending.error or "")
    assert not bench.end_of(waiting).began
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}-0.1.1"))


def test_a_broker_that_hangs(redis_server: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """Stopped for a moment, it costs nothing."""
    consume(redis_server)
    bench = make(redis_server)
    attempts = [bench.sh(ledger_script(tmp_path, 0.2)) for _ in range(12)]
    bench.look(0.5)
    redis_server.signal(signal.SIGSTOP)
    bench.look(1.0)
    redis_server.signal(signal.SIGCONT)
    all_done_once(bench, attempts, tmp_path)


def test_a_broker_that_is_gone(make: Make, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it for ever."""
    monkeypatch.setattr("manyhands.backends.queue.coordinator._LEAST_UNHEARD", 0.5)
    monkeypatch.setattr("manyhands.backends.queue.coordinator._UNHEARD", 0.5)
    bench = make(redis_server)
    bench.sh("true")
    redis_server.kill()
    with pytest.raises(ManyhandsError, match="has not answered for 1 s"):
        bench.look(10)


def test_a_broker_that_goes_away_while_it_is_looked_at(redis_server: RedisServer) -> None:
    """One line, as if it had not been there."""
    broker = Broker.of(redis_server.url, {}, lease=LEASE, insecure=False, password_file=None)
    uses: list[Callable[[Inspection], object]] = [
        lambda one: one.drain(["c"]),
        lambda one: one.purge("r"),
        lambda one: one.runs([]),
    ]
    for use in uses:
        with pytest.raises(UnavailableError, match="cannot be used"), Inspection(broker) as inspection:
            assert inspection.consumers() == []
            redis_server.kill()
            use(inspection)
        redis_server.start()
