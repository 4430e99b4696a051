"""Attempts through Celery, on RabbitMQ and on Redis, and through RQ: what would kill or confuse a worker of theirs costs nothing here."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.queue.test_redis_queue import LEASE, LONG_LEASE, Queue, all_done_once, ledger_script
from conftest import wait_for, with_tag
from manyhands.backends.queue.attempt_queue import queue_name
from manyhands.backends.queue.celery_app import EXCHANGE, app_settings, celery_app
from manyhands.backends.queue.coordinator import Queued
from manyhands.backends.registry import open_backend
from manyhands.backends.settings import CommandSettings
from manyhands.posix import linux
from manyhands.work.broker_url import BrokerUrl
from redis_servers import Consumer, Kind, RedisServer

KINDS = ["celery-amqp", "celery-redis", "rq"]
TOKEN = f"fed{os.getpid()}"
pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("nothing_left")]
Make = Callable[..., Queue]
Consume = Callable[..., Consumer]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A backend with its broker; RabbitMQ is only started for what needs it."""
    amqp = request.getfixturevalue("rabbit").url if request.param == "celery-amqp" else None
    return Kind(request.param.partition("-")[0], amqp)


@pytest.fixture
def consume(kind: Kind, environment: dict[str, str], tmp_path: Path) -> Iterator[Consume]:
    """Starts consumers of commands with a short lease; ends them."""
    started: list[Consumer] = []

    def start(server: RedisServer, *, slots: int = 2, lease: float = LEASE) -> Consumer:
        more = ["--slots", str(slots), "--lease", str(lease), "--allow-commands"]
        started.append(Consumer(server, environment, *more, cwd=tmp_path, kind=kind))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def make(kind: Kind, tmp_path: Path) -> Iterator[Make]:
    """Makes coordinators; closes them."""
    made: list[Queue] = []

    def queue(server: RedisServer, **more: Any) -> Queue:
        given: dict[str, Any] = {"slots": 100, "outputs": tmp_path, "token": f"{TOKEN}-{len(made)}", "workdir": tmp_path}
        given |= {"environment": {b"MH_RUN": b"nightly"}, "grace": 0.3, "lease": LEASE, **kind.settings(server), **more}
        backend = open_backend(kind.name, CommandSettings(**given))
        assert isinstance(backend, Queued)
        made.append(Queue(backend))
        return made[-1]

    yield queue
    for one in made:
        one.backend.close()


def feeder(consumer: Consumer) -> int:
    """The process of Celery or RQ beside a consumer."""
    found = [one.pid for one in linux.processes() if one.ppid == consumer.process.pid]
    (pid,) = [pid for pid in found if b"_feeder" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


def celery(kind: Kind, server: RedisServer) -> Any:
    url = BrokerUrl.parse(kind.given(server)["broker"], {}, celery=True)
    return celery_app(app_settings(url), patient=False)


def inspected(kind: Kind, server: RedisServer, what: str, worker: str) -> Any:
    """What ``celery inspect`` says of a worker, when that answers; those of other tests may be quicker."""
    broker = ["-b", kind.given(server)["broker"]]
    command = [sys.executable, "-m", "celery", *broker, "inspect", what, "--json", "--timeout", "3"]
    found: dict[str, Any] = {}

    def answers() -> bool:
        said = subprocess.run(command, capture_output=True, check=False).stdout
        found.update(json.loads(said) if said.startswith(b"{") else {})
        return worker in found

    wait_for(answers, 60)
    return found[worker]


# -- in good order -------------------------------------------------------------------------------------------------------


def test_their_own_tools_show_it(kind: Kind, redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """Readable names while it runs; of a batch that has ended nothing is left, nor of a consumer, but for notes that expire."""
    consumer = consume(redis_url, slots=1)
    bench = make(redis_url)
    running, _ = bench.start("sleep", "60"), bench.start("sleep", "61")
    bench.start_of(running)
    queue, id = queue_name(bench.run_name), f"{bench.run_name}-1-1"
    if kind.name == "celery":
        worker = f"manyhands@{consumer.wait_until_ready()}"  # other tests have workers at the same broker
        (task,) = inspected(kind, redis_url, "active", worker)
        assert (task["name"], task["id"]) == ("manyhands.attempt", id)
        assert '["sleep","60"]' in task["args"][1]
        assert [one["name"] for one in inspected(kind, redis_url, "active_queues", worker)] == [queue]
    else:
        from rq import Queue as RqQueue
        from rq import Worker
        from rq.job import Job

        with redis_url.client() as redis:
            assert [one.name for one in RqQueue.all(connection=redis)] == [queue]
            assert [one.name for one in Worker.all(connection=redis, serializer="json")] == [consumer.wait_until_ready()]
            job = Job.fetch(id, connection=redis, serializer="json")
            assert (job.description, job.get_status(), job.func_name) == ("sleep 60", "started", "manyhands.attempt")
    bench.backend.close()
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}"))
    assert consumer.end() == 0
    left = [
        name for name in redis_url.names() if not name.startswith("_kombu.binding_") and not name.startswith("rq:worker:")
    ]
    assert left == []


def test_a_consumer_that_is_drained_gives_back_what_it_holds(
    redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path
) -> None:
    """What it has begun ends there; what waits is done by another, at once, and once."""
    first = consume(redis_url)
    bench = make(redis_url)
    attempts = [bench.sh(ledger_script(tmp_path, 0.5)) for _ in range(6)]
    bench.start_of(attempts[0])
    first.process.terminate()
    assert first.process.wait(20) == 0
    consume(redis_url)
    all_done_once(bench, attempts, tmp_path)


# -- the worker of Celery or RQ dies, or gets what kills it --------------------------------------------------------------


def test_a_killed_feeder(redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """What runs goes on, since it is the consumer's; the feeder is started again, and copies that come again run nothing."""
    consumer = consume(redis_url)
    bench = make(redis_url)
    attempts = [bench.sh(ledger_script(tmp_path, 0.8)) for _ in range(6)]
    bench.start_of(attempts[0])
    before = feeder(consumer)
    os.kill(before, signal.SIGKILL)
    all_done_once(bench, attempts, tmp_path)
    assert feeder(consumer) != before
    assert "worker beside this consumer has ended: signal 9; it is started again" in consumer.said


def test_a_batch_that_ends_early_costs_a_worker_none_of_its_room(
    kind: Kind, redis_url: RedisServer, make: Make, consume: Consume
) -> None:
    """What the worker has fetched ahead of an execution that is over counts no more, and does not come back into the broker."""
    consume(redis_url)
    for _ in range(4):
        bench = make(redis_url, slots=600)
        attempts = [bench.start("true") for _ in range(600)]  # short ones are fetched ahead, many at once
        bench.end_of(attempts[100])
        bench.backend.close()
    bench = make(redis_url)
    assert [bench.run("true").ending.exit for _ in range(10)] == [0] * 10
    bench.backend.close()
    wait_for(lambda: not [one for one in redis_url.names() if "nightly-" in one])


def test_a_killed_consumer(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """Nothing outlives it: no job, no worker, no work horse. Its jobs are lost within two leases, and another does the rest."""
    doomed = consume(redis_url)
    bench = make(redis_url)
    running = [bench.sh("sleep 60") for _ in range(2)]
    for one in running:
        bench.start_of(one)
    pid = feeder(doomed)
    doomed.process.kill()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or not Path(f"/proc/{pid}/cmdline").read_bytes())
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}-0.1.1"))
    consume(redis_url)
    other = bench.sh("echo other")
    assert bench.end_of(other).ending.stdout.data == b"other\n"
    assert all("was lost" in (bench.end_of(one).ending.error or "") for one in running)


BODIES: list[tuple[bytes, str, dict[str, Any]]] = [
    (b"5", "application/json", {}),
    (b"[]", "application/json", {}),
    (b'[{"a":1},[1],7]', "application/json", {}),
    (b'[["x","5"],{},"args"]', "application/json", {}),
    (b"[" * 100_000, "application/json", {}),
    (b'{"task":"manyhands.attempt","args":[]}', "application/json", {}),
    (pickle.dumps([["x", "5"], {}, {}]), "application/x-python-serialize", {}),
    (pickle.dumps([["x", "5"], {}, {}]), "application/json", {}),
    (b'[["x","5"],{},{}]', "application/json", {"task": "os.system"}),
    (b'[["x","5"],{},{}]', "application/json", {"id": {"no": "text"}}),
]
"""Bodies of tasks, their types, and headers."""


def celery_poison(kind: Kind, server: RedisServer, run: str) -> int:
    with celery(kind, server) as app, app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection.channel(), auto_declare=False)
        for body, type, more in BODIES:
            headers = {"task": "manyhands.attempt", "id": "x", "eta": "never", "retries": "x", "timelimit": 7, **more}
            where = {"exchange": EXCHANGE, "routing_key": queue_name(run)}
            producer.publish(body, content_type=type, content_encoding="utf-8", headers=headers, **where)
        producer.publish(b"5", content_type="application/json", content_encoding="utf-8", headers={}, **where)
    return len(BODIES) + 1


HASHES: list[dict[str, Any]] = [
    {"status": "nonsense"},
    {"created_at": "nonsense"},
    {"timeout": "nonsense"},
    {"retry_intervals": "nonsense"},
    {"data": pickle.dumps(("os.system", None, ("true",), {}))},
    {"data": b"5"},
    {"data": b"[" * 100_000},
    {"data": b'["os.system", null, ["true"], {}]'},
    {"data": b'["manyhands.attempt", null, [5], {}]'},
    {"success_callback_name": b"\xff"},
]
"""Parts of jobs."""


def rq_poison(server: RedisServer, run: str) -> int:
    with server.client() as redis:
        good = {"data": b'["manyhands.attempt", null, ["5"], {}]', "status": "queued", "origin": queue_name(run)}
        for number, one in enumerate(HASHES):
            redis.hset(f"rq:job:poison{number}", mapping={**good, **one})
            redis.rpush(f"rq:queue:{queue_name(run)}", f"poison{number}")
        redis.set("rq:job:wrong", "type")
        redis.rpush(f"rq:queue:{queue_name(run)}", "wrong", "missing", b"\xff\xfe")
    return len(HASHES) + 2  # one that is missing is nothing


def test_poison(kind: Kind, redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """Messages that end a worker of Celery or RQ, at each of its starts: set aside, one line each; nothing ends, nothing is run."""
    consumer = consume(redis_url)
    bench = make(redis_url)
    assert bench.run("echo", "well").ending.stdout.data == b"well\n"
    before = feeder(consumer)
    poison = rq_poison(redis_url, bench.run_name) if kind.name == "rq" else celery_poison(kind, redis_url, bench.run_name)
    assert bench.run("echo", "more").ending.stdout.data == b"more\n"
    wait_for(lambda: consumer.said.count("set aside: a") == poison)
    assert feeder(consumer) == before
    consumer.process.kill()
    later = consume(redis_url)
    assert bench.run("echo", "later").ending.stdout.data == b"later\n"
    assert "set aside" not in later.said


def bomb(kind: Kind, server: RedisServer, run: str) -> None:
    """A small message that is a large one when it is decompressed."""
    large = zlib.compress(bytes(1 << 28))
    if kind.name == "rq":
        with server.client() as redis:
            redis.hset("rq:job:bomb", mapping={"data": large, "status": "queued", "origin": queue_name(run)})
            redis.rpush(f"rq:queue:{queue_name(run)}", "bomb")
        return
    with celery(kind, server) as app, app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection.channel(), auto_declare=False)
        headers = {"task": "manyhands.attempt", "id": "x", "compression": "application/x-gzip"}
        body = {"content_type": "application/json", "content_encoding": "utf-8", "headers": headers}
        producer.publish(large, exchange=EXCHANGE, routing_key=queue_name(run), **body)


def test_a_message_that_grows(kind: Kind, redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """It is not decompressed beyond what a message may have, and costs nothing."""
    consumer = consume(redis_url)
    bench = make(redis_url)
    assert bench.run("echo", "well").ending.stdout.data == b"well\n"
    pid = feeder(consumer)
    bomb(kind, redis_url, bench.run_name)
    assert bench.run("echo", "more").ending.stdout.data == b"more\n"
    wait_for(lambda: "set aside: a job" in consumer.said or "decode message" in consumer.said)
    assert feeder(consumer) == pid
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert int(peak) < 200_000


@pytest.mark.parametrize("kind", ["celery-redis"], indirect=True)
def test_a_message_that_is_none(redis_url: RedisServer, make: Make, consume: Consume) -> None:
    """What is no message of Celery at all, in its list in Redis, costs it one start."""
    consume(redis_url)
    bench = make(redis_url)
    assert bench.run("echo", "well").ending.stdout.data == b"well\n"
    with redis_url.client() as redis:
        redis.lpush(queue_name(bench.run_name), "5", "nonsense", json.dumps({"body": 5}))
    assert bench.run("echo", "more").ending.stdout.data == b"more\n"


# -- brokers that deliver again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["celery-redis"], indirect=True)
def test_a_job_longer_than_the_visibility_timeout(
    redis_url: RedisServer, kind: Kind, environment: dict[str, str], make: Make, tmp_path: Path
) -> None:
    """Celery on Redis delivers it again while it runs, to whoever is free: the copy runs nothing."""
    short = Kind("celery", f"{redis_url.url}?visibility_timeout=1")
    consumers = [
        Consumer(redis_url, environment, "--slots=2", "--allow-commands", f"--lease={LEASE}", cwd=tmp_path, kind=short)
        for _ in "ab"
    ]
    try:
        for one in consumers:
            one.wait_until_ready()
        bench = make(redis_url)
        long = bench.sh(f"{ledger_script(tmp_path, 0.1)}; until [ -e {tmp_path}/enough ]; do sleep 0.1; done")
        bench.start_of(long)
        with redis_url.client() as redis:
            tags = set(redis.hkeys("manyhands:celery-unacked"))
            wait_for(lambda: tags.isdisjoint(redis.hkeys("manyhands:celery-unacked")), seconds=60)  # it has been restored
        (tmp_path / "enough").touch()
        all_done_once(bench, [long], tmp_path)
    finally:
        for one in consumers:
            one.close()


@pytest.mark.parametrize("kind", ["celery-amqp"], indirect=True)
def test_a_job_longer_than_the_consumer_timeout(
    redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path
) -> None:
    """RabbitMQ closes the channel, after 5 s here, and delivers again: the copy runs nothing, and later jobs are done."""
    consumer = consume(redis_url)
    bench = make(redis_url)
    long = bench.sh(f"{ledger_script(tmp_path, 0.1)}; until [ -e {tmp_path}/enough ]; do sleep 0.1; done")
    bench.start_of(long)
    wait_for(lambda: "timed out" in consumer.said, seconds=60)
    assert bench.run("echo", "beside").ending.stdout.data == b"beside\n"
    (tmp_path / "enough").touch()
    assert bench.end_of(long).ending.stdout.data == b"1\n"
    assert (tmp_path / "ledger").read_text() == "1\n"
    assert bench.run("echo", "later").ending.stdout.data == b"later\n"


# -- brokers that forget -------------------------------------------------------------------------------------------------


def test_a_broker_that_is_emptied(
    kind: Kind, redis_server: RedisServer, make: Make, consume: Consume, tmp_path: Path
) -> None:
    """What runs goes on, what waits is sent again: every job is done, once."""
    lease = LEASE if kind.amqp else LONG_LEASE  # what RabbitMQ has lost is noticed, and sent again, after a lease
    consume(redis_server, lease=lease)
    consume(redis_server, lease=lease)
    bench = make(redis_server, lease=lease)
    attempts = [bench.sh(ledger_script(tmp_path, 0.4)) for _ in range(16)]
    bench.look(1.0)
    if kind.amqp:
        with celery(kind, redis_server) as app, app.connection_for_write() as connection:
            connection.channel().queue_delete(queue_name(bench.run_name))
    else:
        with redis_server.client() as redis:
            redis.flushall()
    all_done_once(bench, attempts, tmp_path)
    if kind.amqp is None:  # else the consumers have made the queue anew
        assert any("has lost its memory" in note for note in bench.notes())


@pytest.mark.parametrize("kind", ["celery-redis", "rq"], indirect=True)
def test_a_broker_that_is_killed(redis_server: RedisServer, make: Make, consume: Consume, tmp_path: Path) -> None:
    """It comes back, empty, within the lease: every job is done, once, and all ends connect again."""
    consume(redis_server, lease=LONG_LEASE)
    bench = make(redis_server, lease=LONG_LEASE)
    attempts = [bench.sh(ledger_script(tmp_path, 0.3)) for _ in range(12)]
    bench.look(0.8)
    redis_server.kill()
    bench.look(0.5)
    redis_server.start()
    all_done_once(bench, attempts, tmp_path)
