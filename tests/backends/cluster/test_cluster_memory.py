"""A Dask batch keeps nothing of jobs that are over, here or at the scheduler: its memory does not depend on how many it has."""

from __future__ import annotations

import os
from os.path import basename
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import wait_for
from dask_clusters import DaskCluster
from manyhands import run_batch

pytestmark = pytest.mark.sampled
WINDOW = 64
"""Jobs at once."""
BETWEEN = 32
"""MiB that a process may grow by, for whatever reason, during 8,000 jobs: 4 KiB each. A job that was kept would need as much."""


class Sizes(NamedTuple):
    """Of a moment; memory in MiB, ``tasks`` known to the scheduler, ``results`` that it keeps for somebody."""

    coordinator: float
    scheduler: float
    tasks: int
    results: int


class Desk:
    """A client of a cluster that nobody else uses, and batches of functions that do nothing."""

    def __init__(self, cluster: DaskCluster, client: Any, state: Path) -> None:
        self.scheduler, self.client, self.state = cluster.processes["scheduler"], client, state

    def look(self) -> Sizes:
        def known(dask_scheduler: Any) -> tuple[int, int]:
            return len(dask_scheduler.tasks), sum(len(one.wants_what) for one in dask_scheduler.clients.values())

        return Sizes(resident(os.getpid()), resident(self.scheduler), *self.client.run_on_scheduler(known))

    def looks(self, total: int, every: int, **options: Any) -> list[Sizes]:
        """After so many jobs each time."""
        inputs = (f"/{number}/x" for number in range(total))
        results = run_batch(basename, inputs, backend="dask", cluster=self.client, state_dir=self.state, **options)
        found = []
        for count, one in enumerate(results, 1):
            assert one.value == "x"
            if count % every == 0:
                found.append(self.look())
        return found


def resident(pid: int) -> float:
    """MiB of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@pytest.fixture
def desk(dask_cluster: DaskCluster, tmp_path: Path) -> Any:
    """See `Desk`."""
    from distributed import Client

    with Client(dask_cluster.address) as client:
        yield Desk(dask_cluster, client, tmp_path)


def test_ten_thousand_jobs_in_flat_memory(desk: Desk) -> None:
    """Of the coordinator and of the scheduler, after 2,000 jobs and after 10,000; no task and no result is kept."""
    first, *_, last = desk.looks(10_000, every=2_000)
    assert last.coordinator < first.coordinator + BETWEEN
    assert last.scheduler < first.scheduler + BETWEEN
    wait_for(lambda: desk.look()[2:] == (0, 0))


def test_no_more_tasks_than_jobs_at_once(desk: Desk) -> None:
    """If each job is a task of its own, the scheduler knows at any time no more of them than may be under way, and none at the end."""
    looks = desk.looks(1_000, every=100, chunk=1, jobs=WINDOW)
    assert max(one.tasks for one in looks) <= 4 * WINDOW
    assert max(one.results for one in looks) <= 4 * WINDOW
    wait_for(lambda: desk.look()[2:] == (0, 0))
