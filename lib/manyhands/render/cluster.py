"""A Dask cluster, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manyhands.backends.cluster.detached import ClusterStatus
from manyhands.render.table import table


def status_lines(found: ClusterStatus) -> Iterator[str]:
    """The scheduler, and a table of the workers."""
    yield f"scheduler  {found.address}"
    yield f"dashboard  {found.dashboard}"
    yield ""
    if found.workers:
        rows = [(one.address, one.threads, one.running, f"{one.memory / 1_000_000:.0f} MB") for one in found.workers]
        header = ("worker", "threads", "running", "memory")
        yield from table(header, rows, right=header[1:])
    else:
        yield "no workers"


def status_record(found: ClusterStatus) -> dict[str, Any]:
    """The same for programs; ``memory`` is in bytes."""
    return {
        "kind": "cluster",
        "scheduler": found.address,
        "dashboard": found.dashboard,
        "workers": [
            {"address": one.address, "threads": one.threads, "running": one.running, "memory": one.memory}
            for one in found.workers
        ],
    }
