"""What can be said of the cluster of this machine."""

from __future__ import annotations

from manyhands.options.common import Json
from manyhands.options.declaration import Options, option


class UpOptions(Options):
    """What ``cluster.up`` takes."""

    workers: int | None = option(None, metavar="N", help="start N worker processes (default: one for each usable core)")
    threads: int = option(1, help="jobs that each worker does at once (default: 1)")


class ClusterStatusOptions(Json):
    """What ``cluster.status`` takes."""
