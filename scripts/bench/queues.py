#!/usr/bin/env python3
"""What a queue costs: functions that do nothing, through `--backend redis`, celery and rq, beside Celery's and RQ's own `delay` and `enqueue`,
and beside two bare loops over Redis Streams: one takes a message at a time, and acknowledges it when it is done, so that nothing is lost if it
dies; the other takes 64, and keeps no promise at all.

    scripts/bench/queues.py --redis redis://127.0.0.1:6379/0
    scripts/bench/queues.py --redis redis://127.0.0.1:6379/0 --amqp amqp://127.0.0.1/ --jobs 1000 --rounds 5

With ``--only redis`` only these are measured. The server at ``--redis`` is emptied. Each peer has a worker with two slots (RQ: two workers), which is there before the clock starts. The table
shows medians of seconds from the first job that is sent to the last result that is there, and of microseconds of CPU a job of this
process, of the consumers (those of all peers, of which only one has anything to do) and of the server; and ratios of them round by round. Ours
keep a journal; Celery's results are in Redis.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from os.path import basename
from pathlib import Path
from typing import Any

from cpu_seconds import Seconds, used  # type: ignore[import-not-found]  # it stands beside this file

from manyhands import run_batch

APP = """
from celery import Celery
app = Celery("bench_app", broker={broker!r}, backend={redis!r})
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1)
@app.task
def name(path):
    return path.rpartition("/")[2]
"""
BARE = """
import sys
from redis import Redis
redis = Redis.from_url(sys.argv[1])
while True:
    for _, entries in redis.xreadgroup("bench", sys.argv[2], {"bench:jobs": ">"}, count=64, block=1000, noack=True):
        with redis.pipeline(transaction=False) as pipe:
            for _, fields in entries:
                pipe.xadd("bench:ends", {"value": fields[b"path"].rpartition(b"/")[2]})
            pipe.execute()
"""
CAREFUL = """
import sys
from redis import Redis
redis = Redis.from_url(sys.argv[1])
while True:
    _, entries, _ = redis.xautoclaim("bench:jobs", "bench", sys.argv[2], min_idle_time=60_000, count=1)
    if not entries:
        found = redis.xreadgroup("bench", sys.argv[2], {"bench:jobs": ">"}, count=1, block=1000)
        entries = found[0][1] if found else []
    for number, fields in entries:
        with redis.pipeline() as pipe:
            pipe.xadd("bench:ends", {"value": fields[b"path"].rpartition(b"/")[2]})
            pipe.xack("bench:jobs", "bench", number)
            pipe.execute()
"""
ALLOWED = f"{basename.__module__}:{basename.__name__}"
LOOPS = {
    "bare Redis Streams, one by one, acknowledged late": CAREFUL,
    "bare Redis Streams, 64 at once, unacknowledged": BARE,
}
Peer = Callable[[list[str]], None]


class Bench:
    """Workers in a folder, ended with it."""

    def __init__(self, folder: Path, redis: str, stack: ExitStack) -> None:
        self.folder, self.redis, self.stack = folder, redis, stack

    def worker(self, *command: str) -> None:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)

    def ours(self, kind: str, broker: str) -> Peer:
        where = {"broker": broker} | ({"store": self.redis} if broker.startswith("amqp") else {})
        options = [f"--{name}={value}" for name, value in where.items()]
        self.worker("-m", "manyhands", "queue.work", f"--backend={kind}", *options, "--slots=2", f"--allow={ALLOWED}")

        def peer(inputs: list[str]) -> None:
            state = {"state_dir": self.folder / "state"}
            found = list(run_batch(basename, inputs, backend=kind, **where, **state))  # type: ignore[call-overload]
            assert all(one.value == "x" for one in found)

        return peer

    def celery(self, broker: str, name: str) -> Peer:
        (self.folder / f"{name}.py").write_text(APP.format(broker=broker, redis=self.redis))
        self.worker("-m", "celery", "-A", name, "worker", "-P", "threads", "-c", "2")
        sys.path.insert(0, str(self.folder))
        app = __import__(name)

        def peer(inputs: list[str]) -> None:
            sent = [app.name.delay(one) for one in inputs]
            assert all(one.get() == "x" for one in sent)

        return peer

    def rq(self) -> Peer:
        from redis import Redis
        from rq import Queue

        connection = Redis.from_url(self.redis)
        for _ in range(2):
            self.worker("-m", "rq.cli", "worker", "-u", self.redis, "bench")
        queue = Queue("bench", connection=connection)

        def peer(inputs: list[str]) -> None:
            sent = [queue.enqueue(basename, one) for one in inputs]
            for one in sent:
                while not one.is_finished:
                    time.sleep(0.01)

        return peer

    def empty(self) -> None:
        """Remove what an earlier bench has left."""
        from redis import Redis

        Redis.from_url(self.redis).flushdb()

    def server(self) -> int:
        """The process of Redis, which is on this machine."""
        from redis import Redis

        return int(Redis.from_url(self.redis).info("server")["process_id"])

    def bare(self, loop: str, name: str) -> Peer:
        from redis import Redis

        connection: Any = Redis.from_url(self.redis)
        jobs, ends = f"{name}:jobs", f"{name}:ends"
        connection.xgroup_create(jobs, "bench", id="0", mkstream=True)
        for number in range(2):
            self.worker("-c", loop.replace("bench:", f"{name}:"), self.redis, str(number))

        def peer(inputs: list[str]) -> None:
            with connection.pipeline(transaction=False) as pipe:
                for one in inputs:
                    pipe.xadd(jobs, {"path": one})
                pipe.execute()
            last, found = "0", 0
            while found < len(inputs):
                for _, entries in connection.xread({ends: last}, count=1000, block=1000):
                    found += sum(fields[b"value"] == b"x" for _, fields in entries)
                    last = entries[-1][0]
            connection.delete(ends)
            connection.xtrim(jobs, maxlen=0)

        return peer


def measured(
    peers: dict[str, Peer], jobs: int, rounds: int, server: int
) -> tuple[dict[str, list[float]], dict[str, list[Seconds]]]:
    """Seconds of each peer, and of CPU, round by round, one after the other in each."""
    inputs = [f"/{number}/x" for number in range(jobs)]
    for peer in peers.values():
        peer(inputs[:20])  # the workers are there, and have imported what they need
    found: dict[str, list[float]] = {name: [] for name in peers}
    cpu: dict[str, list[Seconds]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            before, began = used(server), time.perf_counter()
            peer(inputs)
            found[name].append(time.perf_counter() - began)
            cpu[name].append(used(server).since(before))
    return found, cpu


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", required=True, metavar="URL", help="a server that may be emptied")
    parser.add_argument("--amqp", metavar="URL", help="RabbitMQ, if Celery is to be measured with it")
    parser.add_argument("--only", choices=["redis"], help="leave out Celery and RQ")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), given.redis, stack)
        bench.empty()
        pairs = [("manyhands redis", name) for name in LOOPS]
        peers: dict[str, Any] = {"manyhands redis": bench.ours("redis", given.redis)}
        peers |= {name: bench.bare(loop, f"bench{number}") for number, (name, loop) in enumerate(LOOPS.items())}
        for name, broker in {"celery on Redis": given.redis, "celery on RabbitMQ": given.amqp}.items():
            if broker and not given.only:
                peers[f"manyhands {name}"], peers[name] = (
                    bench.ours("celery", broker),
                    bench.celery(broker, f"app{len(pairs)}"),
                )
                pairs.append((f"manyhands {name}", name))
        if not given.only:
            peers["manyhands rq"], peers["rq"] = bench.ours("rq", given.redis), bench.rq()
            pairs.append(("manyhands rq", "rq"))
        found, cpu = measured(peers, given.jobs, given.rounds, bench.server())
    print(f"{given.jobs} jobs, {given.rounds} rounds; us of CPU a job\n")
    print("| | seconds | here | consumers | server |\n|---|---:|---:|---:|---:|")
    for name, seconds in found.items():
        parts = [1e6 / given.jobs * statistics.median(one) for one in zip(*cpu[name], strict=True)]
        print(f"| {name} | {statistics.median(seconds):.2f} | {parts[0]:.0f} | {parts[1]:.0f} | {parts[2]:.0f} |")
    print("\n| | ratio |\n|---|---|")
    for ours, theirs in pairs:
        ratio = statistics.median(a / b for a, b in zip(found[ours], found[theirs], strict=True))
        print(f"| {ours} / {theirs} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
