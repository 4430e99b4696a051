#!/usr/bin/env python3
"""Whether the memory of a Dask batch depends on how many jobs it has: coordinator and scheduler, looked at after some of the jobs and after all.

    scripts/bench/cluster_memory.py
    scripts/bench/cluster_memory.py --first 2000 --jobs 10000 --chunk 1

``--chunk 1`` makes a task of each job, which is what Dask has most to remember of; by default short functions travel together. The
cluster is a scheduler and two workers of one thread, each a process. Tasks are those that the scheduler knows, results those that it keeps for somebody.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os.path import basename
from pathlib import Path
from typing import Any, NamedTuple

from distributed import Client, LocalCluster

from manyhands import run_batch


class Sizes(NamedTuple):
    """What there is at a moment; memory in MiB."""

    jobs: int
    coordinator: float
    scheduler: float
    tasks: int
    results: int


def resident(pid: int) -> float:
    """MiB of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _scheduler(dask_scheduler: Any) -> tuple[int, int, int]:
    wanted = sum(len(one.wants_what) for one in dask_scheduler.clients.values())
    return os.getpid(), len(dask_scheduler.tasks), wanted


def look(client: Any, jobs: int) -> Sizes:
    """At this moment."""
    pid, tasks, results = client.run_on_scheduler(_scheduler)
    return Sizes(jobs, resident(os.getpid()), resident(pid), tasks, results)


def _cluster(address: Any) -> None:
    """A cluster in a process of its own, until that is ended."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address.send(cluster.scheduler_address)
        address.recv()


@contextmanager
def cluster() -> Iterator[Any]:
    """A client of such a cluster."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_cluster, args=(theirs,))
    process.start()
    with Client(ours.recv()) as client:
        yield client
    ours.send(None)
    process.join()


def watched(client: Any, first: int, jobs: int, chunk: int | None, state: str) -> list[Sizes]:
    """After ``first`` jobs, and after all."""
    found: list[Sizes] = []
    given: dict[str, Any] = {"backend": "dask", "cluster": client, "state_dir": state, "chunk": chunk}
    list(run_batch(basename, ["/x"], **given))  # what is loaded once is there
    at: Callable[[int], bool] = lambda count: count in (first, jobs)  # noqa: E731
    results = run_batch(basename, (f"/{number}/x" for number in range(jobs)), **given)
    for count, one in enumerate(results, 1):
        assert one.value == "x"
        if at(count):
            found.append(look(client, count))
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--chunk", type=int, default=None)
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # of the workers
    print(
        "| jobs done | coordinator, MiB | scheduler, MiB | its tasks | results that it keeps |\n|---:|---:|---:|---:|---:|"
    )
    with tempfile.TemporaryDirectory() as state, cluster() as client:
        for one in watched(client, given.first, given.jobs, given.chunk, state):
            print(f"| {one.jobs:,} | {one.coordinator:.0f} | {one.scheduler:.0f} | {one.tasks} | {one.results} |")


if __name__ == "__main__":
    main()
