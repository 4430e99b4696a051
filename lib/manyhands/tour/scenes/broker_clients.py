"""What a producer and a consumer say to each of four brokers: ``putting_into_...`` gives a function that puts jobs,
``taking_from_...`` gives jobs, a few at a time, and what to call when one is done.

With acknowledgements a broker keeps a job until it is done; without them it forgets it when it has given it away.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from manyhands.tour.scene_tools import tell
from manyhands.tour.scenes.servers import client, free_port, rabbitmq_server, redis_server, serve_kafka, served

Putting = Callable[[Iterable[int]], None]
Taking = Generator[tuple[list[int], Callable[[int], Any]]]

FEW = 10
"""Jobs that a consumer is given at a time."""
LEASE = 1000
"""Milliseconds after which a job that was taken from Redis, and not acknowledged, may be claimed by others."""
PARTITIONS = 4
"""Of a topic of the mock of Kafka."""


# -- Redis Streams: the consumers claim what another has had for too long ---------------------------------------------------


@contextmanager
def serving_redis(_acks: bool) -> Iterator[int]:
    with redis_server("real") as port:
        client(port).xgroup_create("jobs", "consumers", id="0", mkstream=True)
        yield port


@contextmanager
def putting_into_redis(port: int, _acks: bool) -> Iterator[Putting]:
    stream = client(port)

    def put(jobs: Iterable[int]) -> None:
        for job in jobs:
            stream.xadd("jobs", {"job": job})

    yield put


def taking_from_redis(port: int, acks: bool) -> Taking:
    stream, me = client(port), str(os.getpid())
    ids: dict[int, str] = {}

    def finish(job: int) -> None:
        if acks:
            stream.xack("jobs", "consumers", ids.pop(job))

    yield [], finish
    while True:
        found = stream.xreadgroup("consumers", me, {"jobs": ">"}, count=FEW, block=200, noack=not acks)
        entries = found[0][1] if found else []
        if not found and acks:
            entries = stream.xautoclaim("jobs", "consumers", me, min_idle_time=LEASE, count=FEW)[1]
        ids.update((int(fields["job"]), entry) for entry, fields in entries)
        if entries:
            yield [int(fields["job"]) for _, fields in entries], finish


# -- RabbitMQ: the server gives again what somebody had whose connection has ended ------------------------------------------


def rabbitmq_channel(port: int) -> Any:
    from pika import BlockingConnection, ConnectionParameters

    return BlockingConnection(ConnectionParameters("127.0.0.1", port, heartbeat=0)).channel()


@contextmanager
def serving_rabbitmq(_acks: bool) -> Iterator[int]:
    with rabbitmq_server() as port:
        channel = rabbitmq_channel(port)
        channel.queue_declare("jobs")
        channel.connection.close()
        yield port


@contextmanager
def putting_into_rabbitmq(port: int, _acks: bool) -> Iterator[Putting]:
    channel = rabbitmq_channel(port)

    def put(jobs: Iterable[int]) -> None:
        for job in jobs:
            channel.basic_publish("", "jobs", str(job))

    yield put
    channel.connection.close()


def taking_from_rabbitmq(port: int, acks: bool) -> Taking:
    channel, arrived, tags = rabbitmq_channel(port), deque[int](), dict[int, int]()

    def arrives(_: Any, method: Any, __: Any, body: bytes) -> None:
        arrived.append(int(body))
        tags[int(body)] = method.delivery_tag

    def finish(job: int) -> None:
        if acks:
            channel.basic_ack(tags.pop(job))

    channel.basic_qos(prefetch_count=FEW)  # without acknowledgements it is as if we had not said so
    channel.basic_consume("jobs", arrives, auto_ack=not acks)
    yield [], finish
    while True:
        channel.connection.process_data_events(time_limit=None)
        while arrived:
            yield [arrived.popleft() for _ in range(min(FEW, len(arrived)))], finish


# -- ZeroMQ: there is no broker. Without one, what was sent to the dead is lost; so we write one ----------------------------


@contextmanager
def serving_zeromq(acks: bool) -> Iterator[tuple[int, int]]:
    """Where to put, and where to take."""
    if not acks:
        port = free_port()
        yield port, port
        return
    with served("clerk", keep_jobs) as ports:
        yield ports


def keep_jobs(telling: Connection) -> None:
    """Give a few jobs to each consumer that has none. Answer each report that a job is done. Take jobs back from a consumer that cannot
    be reached any more."""
    import zmq

    context = zmq.Context()
    counter, desk = context.socket(zmq.PULL), context.socket(zmq.ROUTER)
    desk.router_mandatory = 1  # who is gone is an error, not silence
    telling.send(tuple(one.bind_to_random_port("tcp://127.0.0.1") for one in (counter, desk)))
    jobs, held = deque[int](), dict[bytes, list[int]]()
    poller = zmq.Poller()
    poller.register(counter, zmq.POLLIN)
    poller.register(desk, zmq.POLLIN)
    while True:
        ready, known = dict(poller.poll(50)), dict[bytes, int]()
        while counter.poll(0):
            jobs.append(int(counter.recv()))
        if desk in ready:
            who, done = desk.recv_multipart()
            known[who] = int(done)
            held[who] = [job for job in held.get(who, []) if job != known[who]]
        for who, mine in list(held.items()):
            more = [] if mine else [jobs.popleft() for _ in range(min(FEW, len(jobs)))]
            if more or who in known or (mine and not ready):  # nothing happens: are they still there?
                held[who] = mine + more
                try:
                    desk.send_multipart([who, json.dumps([known.get(who), more]).encode()])
                except zmq.ZMQError:
                    jobs.extendleft(reversed(held.pop(who)))


@contextmanager
def putting_into_zeromq(ports: tuple[int, int], acks: bool) -> Iterator[Putting]:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUSH) as sending:
        sending.sndhwm, sending.linger = 0, 0
        if acks:
            sending.connect(f"tcp://127.0.0.1:{ports[0]}")
        else:
            bind_and_meet(sending, ports[0])

        def put(jobs: Iterable[int]) -> None:
            for job in jobs:
                sending.send(str(job).encode())

        yield put


def bind_and_meet(sending: Any, port: int) -> None:
    """Bind, and wait until both consumers are connected: what is sent before goes to the only one that is."""
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    with sending.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) as news:
        sending.bind(f"tcp://127.0.0.1:{port}")
        for _ in range(2):
            recv_monitor_message(news)
        sending.disable_monitor()


def taking_from_zeromq(ports: tuple[int, int], acks: bool) -> Taking:
    import zmq

    arrived = deque[int]()
    with zmq.Context() as context, context.socket(zmq.DEALER if acks else zmq.PULL) as taking:
        taking.connect(f"tcp://127.0.0.1:{ports[1]}")

        def hear() -> Any:
            known, more = json.loads(taking.recv()) if acks else (None, [int(taking.recv())])
            arrived.extend(more)
            return known

        def finish(job: int) -> None:
            if acks:
                taking.send(str(job).encode())
                while (
                    hear() != job
                ):  # ``send`` only gives it to a thread, which dies with us: it is done when the clerk knows it
                    pass

        finish(0)  # nothing is done: it only says that we are there
        yield [], finish
        while True:
            while not arrived or (len(arrived) < FEW and taking.poll(0)):
                hear()
            yield [arrived.popleft() for _ in range(min(FEW, len(arrived)))], finish


# -- Kafka: a consumer has its partitions, and commits how far it has come; another goes on from there ----------------------


@contextmanager
def serving_kafka(_acks: bool) -> Iterator[str]:
    with served("kafka", serve_kafka, "jobs") as address:
        tell("not a real Kafka: librdkafka's mock, in memory")
        yield address


@contextmanager
def putting_into_kafka(address: str, _acks: bool) -> Iterator[Putting]:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address, "linger.ms": 0, "log_level": 0})

    def put(jobs: Iterable[int]) -> None:
        for job in jobs:
            for partition in [job % PARTITIONS] if job else range(PARTITIONS):  # the end is the end of each
                producer.produce("jobs", str(job), partition=partition)
        producer.flush()

    yield put


def kafka_consumer(address: str) -> Any:
    """One that has been given its partitions."""
    from confluent_kafka import Consumer

    settings = {"bootstrap.servers": address, "group.id": "consumers", "auto.offset.reset": "earliest", "log_level": 0}
    # who gives no sign of life for three seconds is dead; by default signs are as far apart
    alive = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 300}
    consumer = Consumer(settings | alive | {"enable.auto.commit": False, "fetch.wait.max.ms": 20})
    given: list[Any] = []
    consumer.subscribe(["jobs"], on_assign=lambda _, partitions: given.extend(partitions))
    while not given:
        consumer.poll(0.1)
    return consumer


def taking_from_kafka(address: str, acks: bool) -> Taking:
    from confluent_kafka import KafkaException

    consumer, places, ended = kafka_consumer(address), dict[int, Any](), set[int]()

    def commit(**what: Any) -> None:
        with suppress(KafkaException):  # the group is changing: the next owner of the partition gets the job again
            consumer.commit(asynchronous=False, **what)

    def finish(job: int) -> None:
        if acks:
            commit(message=places.pop(job))

    yield [], finish
    while len(ended) < PARTITIONS:
        first = consumer.poll(1)
        arrived = [] if first is None else [first, *consumer.consume(FEW - 1, timeout=0)]
        found = [one for one in arrived if one.error() is None]
        if found and not acks:
            commit()
        ended |= {one.partition() for one in found if one.value() == b"0"}
        places |= {int(one.value()): one for one in found if one.value() != b"0"}
        jobs = [int(one.value()) for one in found if one.value() != b"0"]
        if jobs:
            yield jobs, finish
    consumer.close()
    yield [0], finish
