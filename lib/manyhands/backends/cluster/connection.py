"""The connection to a cluster, or a cluster that is made for one execution: what Dask has for each kind of address.

    Cluster --connected--> Connection: a client of ours, and the cluster to be closed with it if we have made it

On a cluster that is made here nothing is tried again by Dask itself: its ``allowed-failures`` is 0. On others, see `one_try`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import ssl
import tempfile
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from manyhands.backends.cluster.one_try import have_one_try
from manyhands.backends.cluster.scheduler_file import check_running, usual_path
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.extras import install_line
from manyhands.core.hints import given_as, switch_name
from manyhands.posix.cores import usable_cores
from manyhands.work.cluster_address import Cluster

_PROFILER: Final = "distributed.worker.profile.enabled"
"""Set to False where a cluster is made. Dask's profiler looks at the threads of a worker a hundred times a second; ours only wait for their
processes. With Python 3.11 it can stop the worker for ever (issue 106883 of CPython)."""
_CONNECTING: Final = 10.0
"""Seconds that a scheduler has to answer."""
_MAKING: Final = 90.0
"""Seconds that a cluster has to come about."""
_CLOSING: Final = 15.0
_QUIET: Final = logging.CRITICAL
"""What Dask writes to stderr of a cluster that we have made: we say ourselves that a worker was lost."""


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


class Connection:
    """A client, and the cluster that it closes, with the ``folder`` that the cluster has used."""

    def __init__(
        self, client: Any, cluster: Any = None, folder: str | None = None, environment: _Environment | None = None
    ) -> None:
        self.client, self.cluster, self._folder, self._environment = client, cluster, folder, environment
        self._logger = logging.getLogger("distributed.client")
        self._level = self._logger.level
        self._logger.setLevel(_QUIET)

    @property
    def address(self) -> str:
        """That of the scheduler."""
        return str(self.client.scheduler.address)

    @property
    def dashboard(self) -> str | None:
        """The address of its dashboard, if it has one."""
        with suppress(Exception):  # a user's template may lack what it names, and it is only said
            return str(self.client.dashboard_link) or None
        return None

    async def close(self) -> None:
        """Leave the cluster, and end it if it is ours."""
        for one in (self.client, self.cluster):
            if one is not None:
                with suppress(Exception):  # it may be gone, in which case nothing is left to be closed
                    await asyncio.wait_for(one.close(), _CLOSING)
        _remove(self._folder)
        if self._environment:
            self._environment.restore()
        self._logger.setLevel(self._level)


async def connected(given: Cluster, slots: int) -> Connection:
    """A connection; a cluster that is made here has ``slots`` threads at most. Raises UsageError."""
    if given.kind in ("local", "ssh", "slurm"):
        return await _made(given, slots)
    where: dict[str, Any] = {"address": given.text}
    address = given.text
    if given.kind == "client":
        where |= {"security": given.client.security}
    elif given.kind in ("file", "up"):
        where = {"scheduler_file": usual_path() if given.kind == "up" else given.text}
        address = check_running(where["scheduler_file"], own=given.kind == "up")
        given.check_encrypted(address)
    await _check_open(given, address)
    client = await _client(given, **where)
    await have_one_try(client)
    return Connection(client)


async def _check_open(given: Cluster, address: str) -> None:
    """Raise UsageError if nothing listens there: Dask would try again and again."""
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls"):
        return
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, parts.port), _CONNECTING)
    except (TimeoutError, OSError) as error:
        why = getattr(error, "strerror", None) or str(error) or f"it did not answer for {_CONNECTING:.0f} s"
        raise UsageError(f"{given_as('--cluster', repr(given.text))}: no scheduler answers there: {why}") from None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _client(given: Cluster, **where: Any) -> Any:
    from distributed import Client

    logger = logging.getLogger("distributed.client")
    before = logger.level
    logger.setLevel(_QUIET)
    try:
        return await Client(**where, asynchronous=True, set_as_default=False, timeout=_CONNECTING, name="manyhands")
    except (TimeoutError, OSError, TypeError, ValueError, ssl.SSLError) as error:
        raise UsageError(f"{given_as('--cluster', repr(given.text))}: {_why(error)}") from None
    finally:
        logger.setLevel(before)


def _why(error: BaseException) -> str:
    """One line for what went wrong when we connected."""
    first: BaseException | None = error
    while first is not None and not isinstance(first, ssl.SSLError):
        first = first.__cause__ or first.__context__
    if first is not None:
        return f"TLS failed: {' '.join(str(first).split())}"
    if isinstance(error, TypeError) and "ssl_context" in str(error):
        return (
            "it needs certificates: name them in Dask's configuration, distributed.comm.tls, "
            "or DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..._CLIENT__CERT and ..._CLIENT__KEY"
        )
    said = " ".join(str(error).split())
    return f"no scheduler answers there: {said or type(error).__name__}"


# -- clusters that are made ----------------------------------------------------------------------------------------------


async def _made(given: Cluster, slots: int) -> Connection:
    import dask
    import distributed  # noqa: F401 - its settings have to be there before one of them is changed: else all of them are removed again

    maker = {"local": _local, "ssh": _ssh, "slurm": _slurm}[given.kind]
    folder = tempfile.mkdtemp(prefix="manyhands-") if given.kind == "local" else None
    ours: dict[str, Any] = {_PROFILER: False}
    if folder:
        ours |= {"temporary-directory": folder}  # not one that all users share, from which it would import
    cluster: Any = None
    environment = _Environment()
    try:
        with dask.config.set(ours):
            cluster = await asyncio.wait_for(maker(given, slots), _MAKING)
        environment.restore()  # once more in the end: workers may be started again meanwhile
        return Connection(await _client(given, address=cluster), cluster, folder, environment)
    except BaseException as error:
        if cluster is not None:
            await cluster.close()
        _remove(folder)
        environment.restore()
        if isinstance(error, TimeoutError | OSError | RuntimeError | ValueError):
            said = " ".join(str(error).split()) or "it took too long"
            raise ManyhandsError(f"{given_as('--cluster', given.text)}: the cluster could not be made: {said}") from None
        raise


def _remove(folder: str | None) -> None:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


async def _local(_given: Cluster, slots: int) -> Any:
    """A worker for each core, and as many threads as there are to be jobs at once: the threads only wait."""
    from distributed import LocalCluster

    cores = usable_cores()
    wanted = min(slots, cores * _THREADS) if slots < _MANY else cores
    workers = max(1, min(wanted, cores))
    return await LocalCluster(
        n_workers=workers,
        threads_per_worker=-(-wanted // workers),
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        silence_logs=_QUIET,
        scheduler_kwargs={"allowed_failures": 0},
        asynchronous=True,
    )


_THREADS: Final = 32
"""Threads of a worker at most."""
_MANY: Final = 1024
"""As many jobs at once as the cluster has threads (`manyhands.work.planning`)."""


def _check_tls(given: Cluster) -> None:
    """Raise UsageError if what Dask makes on other machines would not be encrypted."""
    import dask

    if not given.insecure and not dask.config.get("distributed.comm.require-encryption", None):
        raise UsageError(
            f"{given_as('--cluster', given.text)}: its connections would not be encrypted: set up TLS in Dask's configuration "
            f"on all machines (distributed.comm.require-encryption), or allow it by {switch_name('--insecure')}"
        )


async def _ssh(given: Cluster, _slots: int) -> Any:
    """A scheduler on the first host, and a worker on each."""
    try:
        import asyncssh  # noqa: F401
    except ImportError:
        raise UsageError(f"{given_as('--cluster', given.text)} needs asyncssh: pip install asyncssh") from None
    import dask
    from distributed import SSHCluster

    _check_tls(given)
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        return await SSHCluster([given.hosts[0], *given.hosts], asynchronous=True)


async def _slurm(given: Cluster, _slots: int) -> Any:
    """Jobs of Slurm as dask-jobqueue submits them; cores and memory of each are those of its configuration."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise UsageError(f"{given_as('--cluster', given.text)} needs dask-jobqueue: pip install dask-jobqueue") from None
    import dask

    _check_tls(given)
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        cluster = await SLURMCluster(asynchronous=True)
    cluster.scale(jobs=given.nodes)
    return cluster


def check_package() -> None:
    """Raise UsageError if Dask is not installed."""
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise UsageError(
            f"{given_as('--backend', 'dask')} needs distributed, which is not installed: {install_line('cluster')}"
        )
