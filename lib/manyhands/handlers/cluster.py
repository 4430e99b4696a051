"""What the ``cluster`` tasks do: start, show and end a Dask cluster of this machine."""

from __future__ import annotations

import sys
from json import dumps
from typing import Final

from manyhands.backends.cluster import detached
from manyhands.backends.cluster.connection import check_package
from manyhands.core.errors import UsageError
from manyhands.options.cluster import ClusterStatusOptions, UpOptions
from manyhands.posix.cores import usable_cores
from manyhands.render.cluster import status_lines, status_record

_MOST: Final = 1024
_NONE: Final = "there is no cluster; cluster.up starts one\n"


def up(options: UpOptions) -> int:
    """Start a cluster, and say where it is."""
    check_package()
    workers = usable_cores() if options.workers is None else options.workers
    for name, value in (("--workers", workers), ("--threads", options.threads)):
        if not 1 <= value <= _MOST:
            raise UsageError(f"{name} {value}: expected 1 to {_MOST}")
    found = detached.up(workers, options.threads)
    sys.stdout.writelines(f"{line}\n" for line in status_lines(found))
    return 0


def status(options: ClusterStatusOptions) -> int:
    """Show the cluster. 0: it runs; 1: there is none."""
    check_package()
    found = detached.status()
    if found is None:
        sys.stderr.write(_NONE)
        return 1
    if options.json:
        sys.stdout.write(f"{dumps(status_record(found))}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in status_lines(found))
    return 0


def dashboard() -> int:
    """Print the address of the dashboard. 1: there is no cluster."""
    check_package()
    found = detached.status()
    if found is None:
        sys.stderr.write(_NONE)
        return 1
    sys.stdout.write(f"{found.dashboard}\n")
    return 0


def down() -> int:
    """End the cluster. 0: it was ended; 1: there was none."""
    if not detached.down():
        sys.stderr.write("there is no cluster\n")
        return 1
    sys.stdout.write("the cluster was ended\n")
    return 0
