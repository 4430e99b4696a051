#!/usr/bin/env python3
"""What a Dask cluster costs: functions that do nothing beside `client.map`, commands beside `client.submit(subprocess.run)`.

    scripts/bench/cluster.py
    scripts/bench/cluster.py --functions 10000 --commands 500 --rounds 5
    scripts/bench/cluster.py --functions 30000 --threads

The cluster is made here, with two workers of one thread, before the clock starts. ``client.map`` is measured twice: a task for each job, and
with chunks of 100 jobs in one task. Tables show medians of seconds, of microseconds of CPU a job of this process, which the scheduler is in, and of the workers; and the ratios of
seconds round by round. Ours keep a journal. With ``--threads`` it prints instead what each thread of this process has used.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from os.path import basename
from pathlib import Path
from typing import Any

from cpu_seconds import Seconds, used  # type: ignore[import-not-found]  # it stands beside this file
from distributed import Client, LocalCluster, as_completed

from manyhands import run_batch

CHUNK = 100
Peer = Callable[[list[str]], None]


def functions(client: Any, state: str) -> dict[str, Peer]:
    """A name for each path."""

    def ours(inputs: list[str]) -> None:
        found = list(run_batch(basename, inputs, backend="dask", cluster=client, state_dir=state))
        assert all(one.value == "x" for one in found)

    def mapped(inputs: list[str]) -> None:
        found = client.map(basename, inputs, pure=False)
        assert all(result == "x" for _, result in as_completed(found, with_results=True))

    def in_chunks(inputs: list[str]) -> None:
        chunks = [inputs[at : at + CHUNK] for at in range(0, len(inputs), CHUNK)]
        found = client.map(lambda paths: [*map(basename, paths)], chunks, pure=False)
        assert all(one == "x" for _, result in as_completed(found, with_results=True) for one in result)

    return {"manyhands": ours, "client.map": mapped, f"client.map, {CHUNK} in a task": in_chunks}


def commands(client: Any, state: str) -> dict[str, Peer]:
    """`echo` with each input."""

    def ours(inputs: list[str]) -> None:
        found = list(run_batch("echo {}", inputs, backend="dask", cluster=client, state_dir=state))
        assert all(one.stdout.data for one in found)

    def submitted(inputs: list[str]) -> None:
        sent = [client.submit(subprocess.run, ["echo", one], capture_output=True, pure=False) for one in inputs]
        assert all(result.stdout for _, result in as_completed(sent, with_results=True))

    return {"manyhands": ours, "client.submit(subprocess.run)": submitted}


def table(what: str, peers: dict[str, Peer], jobs: int, rounds: int) -> None:
    """Measure the peers, one after the other in each round, and print what they took."""
    inputs = [f"/{number}/x" for number in range(jobs)]
    found: dict[str, list[float]] = {name: [] for name in peers}
    cpu: dict[str, list[Seconds]] = {name: [] for name in peers}
    for peer in peers.values():
        peer(inputs[:20])
    for _ in range(rounds):
        for name, peer in peers.items():
            before, began = used(), time.perf_counter()
            peer(inputs)
            found[name].append(time.perf_counter() - began)
            cpu[name].append(used().since(before))
    print(
        f"\n| {jobs} {what}, {rounds} rounds | seconds | manyhands / peer | CPU here | workers |\n|---|---:|---:|---:|---:|"
    )
    for name, seconds in found.items():
        ratio = statistics.median(a / b for a, b in zip(found["manyhands"], seconds, strict=True))
        here, workers = (1e6 / jobs * statistics.median(one) for one in [*zip(*cpu[name], strict=True)][:2])
        print(f"| {name} | {statistics.median(seconds):.2f} | {ratio:.2f} | {here:.0f} | {workers:.0f} |")


class Threads:
    """Microseconds of CPU of the threads of this process, by their names, also of those that end; looked at twenty times a second."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def _follow(self) -> None:
        while not self._over.wait(0.05):
            for one in {*threading.enumerate()} - {self._thread}:
                with suppress(OSError):
                    fields = Path(f"/proc/self/task/{one.native_id}/stat").read_text().rpartition(")")[2].split()
                    self._seen[one.name, one.native_id or 0] = sum(map(int, fields[11:13]))

    def of(self, peer: Peer, inputs: list[str]) -> dict[str, float]:
        """What they take for a peer."""
        self._thread.start()
        time.sleep(0.2)
        before = dict(self._seen)
        peer(inputs)
        self._over.set()
        self._thread.join()
        tick = 1e6 / os.sysconf("SC_CLK_TCK")
        return {name: tick * (now - before.get((name, id), 0)) for (name, id), now in self._seen.items()}


def by_thread(peers: dict[str, Peer], jobs: int) -> None:
    """Print a line for each thread that takes more than a microsecond a job."""
    inputs = [f"/{number}/x" for number in range(jobs)]
    for name in ("manyhands", f"client.map, {CHUNK} in a task"):
        peers[name](inputs[:200])
        for thread, used_there in Threads().of(peers[name], inputs).items():
            if used_there > jobs:
                print(f"{name}: {thread}: {used_there / jobs:.1f} us of CPU a job")


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=10_000)
    parser.add_argument("--commands", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", action="store_true")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # of the workers
    with (
        tempfile.TemporaryDirectory() as state,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        if given.threads:
            by_thread(functions(client, state), given.functions)
            return
        table("functions that do nothing", functions(client, state), given.functions, given.rounds)
        table("commands", commands(client, state), given.commands, given.rounds)


if __name__ == "__main__":
    main()
