"""Clusters that Dask makes for one execution: on this machine, on other hosts by ssh, as jobs of Slurm.

    Cluster --> Made --start--> a cluster with workers --end--> nothing is left, here or there

On a cluster that is made here nothing is tried again by Dask itself: its ``allowed-failures`` is 0. On others, see `one_try`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from manyhands.backends.cluster import leash
from manyhands.backends.cluster.worker_side import version
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.hints import given_as, switch_name
from manyhands.posix.cores import usable_cores
from manyhands.work.cluster_address import Cluster

MADE: Final = ("local", "ssh", "slurm")
"""Kinds of clusters that are made."""
_PROFILER: Final = "distributed.worker.profile.enabled"
"""Set to False where a cluster is made. Dask's profiler looks at the threads of a worker a hundred times a second; ours only wait for their
processes. With Python 3.11 it can stop the worker for ever (issue 106883 of CPython)."""
QUIET: Final = logging.CRITICAL
"""What Dask writes to stderr of a cluster that we have made: we say ourselves that a worker was lost."""
_MAKING: Final = 90.0
"""Seconds that a cluster has to come about."""
_CONNECTING: Final = 20.0
"""Seconds that a host has to answer."""
_LEAVING: Final = 12.0
"""Seconds that the programs on a host have to end; longer than `leash` gives them."""
_ENDING: Final = 30.0
"""Seconds that all of it has to end."""
_AGAIN: Final = 15.0
"""Seconds until it is looked again whether jobs of Slurm are missing."""
_THREADS: Final = 32
"""Threads of a worker at most."""
_MANY: Final = 1024
"""As many jobs at once as the cluster has threads (`manyhands.work.planning`)."""
_HERE_ONLY: Final = "127.0.0.1:0"
"""Where dashboards listen: they have neither TLS nor a password."""


class _Environment:
    """Variables that Dask sets in this very process when it starts workers (``distributed.nanny.pre-spawn-environ``, and the seed of hashes),
    and leaves there: all that the program computes or starts later would have but one thread of OpenMP."""

    def __init__(self) -> None:
        import dask

        names = ("PYTHONHASHSEED", *dask.config.get("distributed.nanny.pre-spawn-environ", {}))
        self._before = {name: os.environ.get(name) for name in names}

    def restore(self) -> None:
        """As they were."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Made:
    """See the module's first lines. ``cluster`` is one of Dask's own."""

    def __init__(self, given: Cluster, slots: int) -> None:
        import distributed  # noqa: F401 - its settings have to be there before one of them is changed: else all of them are removed again

        self._given, self._slots = given, slots
        self.cluster: Any = None
        self._environment = _Environment()
        self._loggers = {one: one.level for one in map(logging.getLogger, ("distributed", "distributed.client"))}
        self._folder: str | None = None
        if given.kind == "local":
            self._folder = tempfile.mkdtemp(prefix="manyhands-")

    async def start(self) -> None:
        """Make it. Raises ManyhandsError; then it has to be ended all the same."""
        import dask

        ours: dict[str, Any] = {_PROFILER: False, "distributed.scheduler.allowed-failures": 0}
        if self._folder:
            ours |= {"temporary-directory": self._folder}  # not one that all users share, from which it would import
        with dask.config.set(ours):
            self.cluster = {"local": _local, "ssh": _ssh, "slurm": _slurm}[self._given.kind](self._given, self._slots)
            for one in self._loggers:
                one.setLevel(QUIET)
            if self._given.kind == "ssh":
                await asyncio.gather(*(_check_host(self._given, one) for one in {*self._given.hosts}))
            await self._started()
        self._environment.restore()  # once more in the end: workers may be started again meanwhile

    async def _started(self) -> None:
        with _last_words() as said:
            try:
                async with asyncio.timeout(_MAKING):
                    await self.cluster
                    if self._given.kind == "slurm":
                        self.cluster.scale(jobs=self._given.nodes)
                        await self.cluster  # until they are submitted
            except Exception as error:  # Dask raises whatever its parts do, and a bare Exception of its own
                why = ": ".join([" ".join(str(error).split()) or "it took too long", *said[-1:]])
                text = f"the cluster could not be made: {why}"
                raise ManyhandsError(f"{given_as('--cluster', self._given.text)}: {text}") from None
        if self._given.kind == "ssh":
            for one in (self.cluster.scheduler, *self.cluster._created):
                # else what they say is read by nobody, which would stop them in the end
                await one.proc.redirect(stdout=os.devnull, stderr=os.devnull)

    async def keep(self) -> None:
        """Until it is cancelled, have a job of Slurm that has ended followed by another: its time was up, or its node is gone. One whose
        worker has never come is not."""
        while self._given.kind == "slurm":
            await asyncio.sleep(_AGAIN)
            self.cluster.scale(jobs=self._given.nodes)

    def dashboard(self, link: str) -> str:
        """Where it is if Dask says ``link``: on other machines it listens to those who have logged in there."""
        if self._given.kind == "local" or not link:
            return link
        parts = urlsplit(link)
        where = f" on {self._given.hosts[0]}" if self._given.kind == "ssh" else ""
        return f"http://127.0.0.1:{parts.port}{parts.path}{where}"

    async def end(self) -> None:
        """End it, however far it has come."""
        if self.cluster is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(_ended(self.cluster), _ENDING)
            await _rest_cancelled()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._environment.restore()
        for logger, level in self._loggers.items():
            logger.setLevel(level)


async def _ended(cluster: Any) -> None:
    """Workers first, then the scheduler."""
    await asyncio.gather(*map(_left, cluster._created))
    if cluster.scheduler_comm is not None:
        cluster.scheduler_comm.timeout = _LEAVING  # it may be gone, and Dask would try for longer
    with suppress(Exception):  # parts of it have not come about, or are gone: what Dask says of them is no help
        await cluster.close()
    await _left(cluster.scheduler)


async def _rest_cancelled() -> None:
    """End what Dask has begun and nobody waits for, such as connections of a cluster that did not come about."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for one in rest:
        one.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def _left(program: Any) -> None:
    """Let a program on another host end; if the connection to it is lost, that happens there all the same."""
    from distributed.deploy.ssh import Process

    if isinstance(program, Process) and program.proc is not None:
        with suppress(Exception):
            program.proc.stdin.write_eof()
            await asyncio.wait_for(program.proc.wait(check=False), _LEAVING)


# -- this machine --------------------------------------------------------------------------------------------------------


def _local(_given: Cluster, slots: int) -> Any:
    """A worker for each core, and as many threads as there are to be jobs at once: the threads only wait."""
    from distributed import LocalCluster

    cores = usable_cores()
    wanted = min(slots, cores * _THREADS) if slots < _MANY else cores
    workers = max(1, min(wanted, cores))
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=-(-wanted // workers),
        processes=True,
        host="127.0.0.1",
        dashboard_address=_HERE_ONLY,
        worker_dashboard_address=_HERE_ONLY,
        silence_logs=QUIET,
        scheduler_kwargs={"allowed_failures": 0},
        asynchronous=True,
    )


# -- hosts ---------------------------------------------------------------------------------------------------------------


def _ssh(given: Cluster, _slots: int) -> Any:
    """A scheduler on the first host, and a worker on each. All end when their connection to us does."""
    try:
        import asyncssh  # noqa: F401
    except ImportError:
        raise UsageError(f"{given_as('--cluster', given.text)} needs asyncssh: pip install asyncssh") from None
    from distributed import SSHCluster

    _check_tls(given)
    return SSHCluster(
        [given.hosts[0], *given.hosts],
        remote_python=shlex.join([sys.executable, "-m", leash.__name__, sys.executable]),
        scheduler_options={"dashboard_address": _HERE_ONLY},
        worker_options={"dashboard_address": _HERE_ONLY},
        silence_logs=QUIET,
        asynchronous=True,
    )


async def _check_host(given: Cluster, host: str) -> None:
    """Raise UsageError unless we may log in, and Python and manyhands are there."""
    import asyncssh

    script = "import distributed, manyhands; print(manyhands.__version__)"
    try:
        async with asyncio.timeout(_CONNECTING), asyncssh.connect(host) as connection:
            found = await connection.run(shlex.join([sys.executable, "-c", script]))
    except TimeoutError:
        why = f"it has not answered for {_CONNECTING:.0f} s"
    except (OSError, ValueError, asyncssh.Error) as error:
        number = getattr(error, "errno", None) or 0
        why = (
            os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error) or type(error).__name__
        )
    else:
        there, said = str(found.stdout).strip(), str(found.stderr).strip().split("\n")[-1]
        if found.exit_status == 0 and there == version():
            return
        why = f"it has manyhands {there}, and this is {version()}" if found.exit_status == 0 else said
    raise UsageError(f"{given_as('--cluster', given.text)}: {host}: {' '.join(why.split())}")


# -- Slurm ---------------------------------------------------------------------------------------------------------------


def _slurm(given: Cluster, _slots: int) -> Any:
    """Jobs of Slurm as dask-jobqueue submits them; cores and memory of each are those of its configuration."""
    slurm_cluster = _slurm_class(given)
    import dask

    _check_tls(given)
    named = given_as("--cluster", given.text)
    for what in ("cores", "memory"):
        if dask.config.get(f"jobqueue.slurm.{what}", None) is None:
            raise UsageError(
                f"{named}: dask-jobqueue has to know the {what} of a job: set jobqueue.slurm.{what} in Dask's configuration, "
                f"or DASK_JOBQUEUE__SLURM__{what.upper()}"
            )
    mine = dask.config.get("jobqueue.slurm.scheduler-options", {})
    extra = dask.config.get("jobqueue.slurm.worker-extra-args", [])
    encrypted = dask.config.get("distributed.comm.require-encryption", None)
    return slurm_cluster(
        protocol="tls://" if encrypted else None,
        scheduler_options={"dashboard_address": _HERE_ONLY, **mine},
        worker_extra_args=["--dashboard-address", _HERE_ONLY, *extra],
        silence_logs=QUIET,
        asynchronous=True,
    )


def _slurm_class(given: Cluster) -> Callable[..., Any]:
    """``SLURMCluster``. A module of dask-jobqueue that this does not need takes Ctrl-C away from the whole program when it is imported, and
    can be imported by the main thread only: an empty one stands in for it."""
    name = "dask_jobqueue.runner"
    stand_in = ModuleType(name)
    stand_in.Role = stand_in.BaseRunner = object  # type: ignore[attr-defined]
    is_new = sys.modules.setdefault(name, stand_in) is stand_in
    try:
        found: Callable[..., Any] = importlib.import_module("dask_jobqueue").SLURMCluster
    except ImportError:
        raise UsageError(f"{given_as('--cluster', given.text)} needs dask-jobqueue: pip install dask-jobqueue") from None
    finally:
        if is_new:
            del sys.modules[name]
    return found


# -- common to them ------------------------------------------------------------------------------------------------------


def _check_tls(given: Cluster) -> None:
    """Raise UsageError if what Dask makes on other machines would not be encrypted."""
    import dask

    if not given.insecure and not dask.config.get("distributed.comm.require-encryption", None):
        raise UsageError(
            f"{given_as('--cluster', given.text)}: its connections would not be encrypted: set up TLS in Dask's configuration "
            f"on all machines (distributed.comm.require-encryption), or allow it by {switch_name('--insecure')}"
        )


class _Listener(logging.Handler):
    """Keeps what the programs on the hosts have written to stderr, but for Dask's own log."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        text = record.getMessage()
        if " - distributed." not in text:
            self._said.append(text)


@contextmanager
def _last_words() -> Iterator[list[str]]:
    """What the programs on the hosts say while they start."""
    said: list[str] = []
    logger, listener = logging.getLogger("distributed.deploy.ssh"), _Listener(said)
    before = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before[0])
        logger.propagate = before[1]
