"""The cluster of ``cluster.up``: a scheduler and workers of this machine, on loopback, that outlive the program which started them.

    up --> dask scheduler, dask worker; scheduler.json (0600), processes.json, *.log --> status, down

A process is signalled only if it is the one that was started: its pid and its start are noted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from manyhands.backends.cluster.scheduler_file import folder, usual_path
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.lean import NamedTuple
from manyhands.core.records import dataclass
from manyhands.posix import linux
from manyhands.posix.durable_files import replacing

_STARTING: Final = 90.0
"""Seconds that the scheduler, and then the workers, have to answer."""
_ENDING: Final = 15.0
"""Seconds between TERM and KILL."""
_LOOK: Final = 0.05
_ANSWERING: Final = 10.0


class Noted(NamedTuple):
    """A process that was started. ``start``: when, in ticks since boot."""

    what: str
    pid: int
    start: int

    @property
    def runs(self) -> bool:
        """Whether it is still that process."""
        return linux.process_alive(self.pid, self.start)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker, and what it does now."""

    address: str
    threads: int
    running: int
    memory: int
    """Resident, in bytes."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A cluster that runs."""

    address: str
    dashboard: str
    workers: tuple[WorkerStatus, ...]


def noted() -> list[Noted]:
    """The processes of the cluster that still run."""
    try:
        found = json.loads((folder() / "processes.json").read_text(encoding="utf-8"))
        there = [Noted(str(one["what"]), int(one["pid"]), int(one["start"])) for one in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError):
        raise ManyhandsError(f"{folder() / 'processes.json'} cannot be read: end its processes by hand") from None
    return [one for one in there if one.runs]


def up(workers: int, threads: int) -> ClusterStatus:
    """Start a cluster, and wait until all its workers are there. Raises UsageError if there is one, ManyhandsError if it does not come up."""
    if noted():
        raise UsageError("cluster.up: there is a cluster already: end it by cluster.down")
    where = folder()
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(mode=0o700, parents=True)
    started: list[Noted] = []
    try:
        # what stands in the scheduler file lets anyone run anything: it is for this user alone
        options = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
        _start(started, "scheduler", ["scheduler", *options, "--scheduler-file", usual_path()], umask=0o077)
        _wait_for_file(started)
        numbers = ["--nworkers", str(workers), "--nthreads", str(threads)]
        place = ["--host", "127.0.0.1", "--no-dashboard", "--death-timeout", "60"]
        _start(started, "workers", ["worker", "--scheduler-file", usual_path(), *numbers, *place])
        return _wait_for_workers(started, workers)
    except BaseException:
        _end(started)
        raise


def _start(started: list[Noted], what: str, command: Sequence[str], *, umask: int = -1) -> None:
    ours = {
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        "DASK_TEMPORARY_DIRECTORY": str(folder()),
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",  # see `connection`
    }
    environment = {**os.environ, **ours}
    with open(folder() / f"{what}.log", "wb", opener=_private) as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dask", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
            umask=umask,
        )
    stat = linux.read_stat(process.pid)
    process.returncode = 0  # it outlives us, and nobody waits for it
    started.append(Noted(what, process.pid, stat.start if stat else 0))
    with replacing(folder() / "processes.json", mode=0o600) as file:
        file.write(json.dumps([{"what": one.what, "pid": one.pid, "start": one.start} for one in started]).encode())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _wait_for_file(started: Sequence[Noted]) -> None:
    deadline = time.monotonic() + _STARTING
    while not Path(usual_path()).exists():
        _check(started, deadline)
        time.sleep(_LOOK)


def _wait_for_workers(started: Sequence[Noted], workers: int) -> ClusterStatus:
    deadline = time.monotonic() + _STARTING
    while True:
        with suppress(ManyhandsError):
            found = status()
            if found is not None and len(found.workers) >= workers:
                return found
        _check(started, deadline)
        time.sleep(_LOOK)


def _check(started: Sequence[Noted], deadline: float) -> None:
    for one in started:
        if not one.runs or linux.has_ended(one.pid):
            raise ManyhandsError(f"the {one.what} did not start: {_last_line(one.what)}")
    if time.monotonic() > deadline:
        raise ManyhandsError(f"the cluster did not start within {_STARTING:.0f} s: see {folder()}/*.log")


def _last_line(what: str) -> str:
    with suppress(OSError):
        lines = (folder() / f"{what}.log").read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return "it said nothing"


def status() -> ClusterStatus | None:
    """What the cluster does; None if there is none. Raises ManyhandsError if its scheduler does not answer."""
    if not noted() or not os.path.exists(usual_path()):
        return None
    import asyncio

    return asyncio.run(_asked())


async def _asked() -> ClusterStatus:

    from distributed import Client

    try:
        client = await Client(scheduler_file=usual_path(), asynchronous=True, set_as_default=False, timeout=_ANSWERING)
    except (TimeoutError, OSError, ValueError) as error:
        raise ManyhandsError(f"the scheduler does not answer: {' '.join(str(error).split())}") from None
    try:
        info = await client.scheduler.identity(n_workers=-1)
        running = await client.processing()
        return _status_of(client, info, running)
    finally:
        await client.close()


def _status_of(client: Any, info: dict[str, Any], running: dict[str, Any]) -> ClusterStatus:
    workers = tuple(
        WorkerStatus(address, one["nthreads"], len(running.get(address, ())), int(one["metrics"].get("memory", 0)))
        for address, one in info["workers"].items()
    )
    return ClusterStatus(str(client.scheduler.address), str(client.dashboard_link), workers)


def down() -> int:
    """End the cluster, and what it runs; how many processes were ended."""
    found = noted()
    _end(found)
    shutil.rmtree(folder(), ignore_errors=True)
    return len(found)


def _end(started: Sequence[Noted]) -> None:
    """TERM for the workers, then for the scheduler; KILL for what does not end."""
    deadline = time.monotonic() + _ENDING
    for one in reversed(started):  # workers whose scheduler is gone would wait for it
        _signal(one, signal.SIGTERM)
        while _lives(one) and time.monotonic() < deadline:
            time.sleep(_LOOK)
    for one in _with_children(started):
        _signal(one, signal.SIGKILL)
    while any(map(_lives, started)) and time.monotonic() < deadline + _ENDING:
        time.sleep(_LOOK)


def _lives(one: Noted) -> bool:
    return one.runs and not linux.has_ended(one.pid)


def _with_children(started: Sequence[Noted]) -> Iterator[Noted]:
    """Those that still live, and what they have started."""
    alive = [one for one in started if _lives(one)]
    yield from (Noted("", one.pid, one.start) for one in linux.descendants([one.pid for one in alive]))
    yield from alive


def _signal(one: Noted, number: int) -> None:
    with suppress(ProcessLookupError):
        linux.send_signal_exact(one.pid, one.start, number)
