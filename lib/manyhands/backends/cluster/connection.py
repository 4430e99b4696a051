"""The connection to a cluster, or a cluster that is made for one execution: what Dask has for each kind of address.

Cluster --connected--> Connection: a client of ours, and the cluster to be ended with it if we have made it
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from manyhands.backends.cluster.making import MADE, QUIET, Made
from manyhands.backends.cluster.one_try import have_one_try
from manyhands.backends.cluster.scheduler_file import check_running, usual_path
from manyhands.core.errors import UsageError
from manyhands.core.extras import install_line
from manyhands.core.hints import given_as
from manyhands.work.cluster_address import Cluster

_CONNECTING: Final = 10.0
"""Seconds that a scheduler has to answer."""
_CLOSING: Final = 15.0


class Connection:
    """A client, and the cluster that is ended with it if it was ``made`` for it."""

    def __init__(self, client: Any, made: Made | None = None) -> None:
        self.client, self.made = client, made
        self._logger = logging.getLogger("distributed.client")
        self._level = self._logger.level
        self._logger.setLevel(QUIET)

    @property
    def address(self) -> str:
        """That of the scheduler."""
        return str(self.client.scheduler.address)

    @property
    def dashboard(self) -> str | None:
        """The address of its dashboard, if it has one."""
        with suppress(Exception):  # a user's template may lack what it names, and it is only said
            link = str(self.client.dashboard_link)
            return (self.made.dashboard(link) if self.made else link) or None
        return None

    async def keep(self) -> None:
        """What a cluster of ours needs as long as it is used."""
        if self.made is not None:
            await self.made.keep()

    async def close(self) -> None:
        """Leave the cluster, and end it if it is ours."""
        with suppress(Exception):  # it may be gone, in which case nothing is left to be closed
            await asyncio.wait_for(self.client.close(), _CLOSING)
        self._logger.setLevel(self._level)
        if self.made is not None:
            await self.made.end()


async def connected(given: Cluster, slots: int) -> Connection:
    """A connection; a cluster that is made here has ``slots`` threads at most. Raises UsageError."""
    if given.kind in MADE:
        made = Made(given, slots)
        try:
            await made.start()
            return Connection(await _client(given, address=made.cluster), made)
        except BaseException:
            await made.end()
            raise
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
    logger.setLevel(QUIET)
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


def check_package() -> None:
    """Raise UsageError if Dask is not installed."""
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise UsageError(
            f"{given_as('--backend', 'dask')} needs distributed, which is not installed: {install_line('cluster')}"
        )
