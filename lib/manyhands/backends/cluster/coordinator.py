"""The backend ``dask``: the engine's thread on one side, the event loop of the carrier on the other.

start, stop, recall, pause --> the loop's thread: carrier.py
reports()                  <-- a mailbox <--
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import suppress
from typing import Any, Final

from manyhands.backends.cluster.carrier import Carrier
from manyhands.backends.cluster.connection import check_package
from manyhands.backends.protocol import Report
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.backends.shared.mailbox import Mailbox
from manyhands.core.attempt import Attempt
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.hints import given_as, option_name
from manyhands.runtime.at_exit import close_at_exit
from manyhands.runtime.at_fork import abandon_in_child
from manyhands.work.cluster_address import Cluster

_SUSPENDING: Final = 2.0
"""Seconds that the workers have to suspend everything."""
_CLOSING: Final = 60.0


def open_cluster(settings: CommandSettings | FunctionSettings) -> Clustered:
    """The backend, ready for attempts. Raises UsageError, or ManyhandsError if the cluster cannot be used."""
    check_package()
    if settings.cluster is None:
        raise UsageError(f"{given_as('--backend', 'dask')} needs a cluster: give {option_name('--cluster')}")
    if isinstance(settings, FunctionSettings) and settings.call.result == "pickle-file":
        raise UsageError("pickle files would be on the workers: choose another result than pickle-file")
    return Clustered(settings, settings.cluster)


class Clustered:
    """See the module's first lines; a `manyhands.backends.protocol.Backend`."""

    name = "dask"
    can_stop = True
    reports_start = True

    def __init__(self, settings: CommandSettings | FunctionSettings, cluster: Cluster) -> None:
        self.settings = settings
        self._mail = Mailbox()
        self._carrier = Carrier(_fresh_name(settings), cluster, settings, self._mail.put, self._mail.wake)
        self._given: deque[Attempt] = deque()
        self._posted = self._closed = False
        self._owner = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="manyhands-cluster", daemon=True)
        self._thread.start()
        abandon_in_child(self)
        close_at_exit(self)
        try:
            self._call(self._carrier.open())
        except BaseException:
            self.close()
            raise

    @property
    def run_name(self) -> str:
        """The name of this execution at the workers."""
        return self._carrier.name

    @property
    def ahead(self) -> int:
        """Enough for tasks of several attempts, if they are short."""
        return self._carrier.ahead

    # -- the verbs -------------------------------------------------------------------------------------------------------

    def start(self, attempt: Attempt) -> None:
        """Have the attempt done by a worker with a free thread."""
        self._check_open()
        self._given.append(attempt)
        if not self._posted:
            self._posted = True
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._posted = False
        given = []
        with suppress(IndexError):
            while True:
                given.append(self._given.popleft())
        self._carrier.give(given)

    def reports(self, timeout: float | None) -> Sequence[Report]:
        """What has begun and ended; waits up to ``timeout`` seconds for it. Raises ManyhandsError if the scheduler is lost."""
        self._check_open()
        if found := self._mail.take(timeout if self._carrier.broken is None else 0.0):
            return found
        if self._carrier.broken is not None:
            raise ManyhandsError(self._carrier.broken)
        return found

    def recall(self, attempts: Collection[Attempt]) -> None:
        """Take back those that have not begun, wherever they are."""
        ids = [one.id for one in attempts]
        self._later(self._carrier.recall, ids)

    def stop(self, attempts: Collection[Attempt], *, kill: bool = False) -> None:
        """Recall what has not begun, and end the rest."""
        ids = [one.id for one in attempts]
        self._later(lambda: self._carrier.stop(ids, kill=kill))

    def pause(self, paused: bool) -> None:
        """Suspend or continue all attempts; meanwhile our silence ends none."""
        self._check_open()
        with suppress(WaitedTooLong):  # this process may be stopped next, with the thread that asks them
            self._call(self._carrier.pause(paused), _SUSPENDING)

    def limit(self, width: int) -> None:
        """See `manyhands.backends.protocol.Adjustable`."""
        self._later(self._carrier.limit, width)

    def wake(self) -> None:
        """Make `reports` return."""
        self._mail.wake()

    def close(self) -> None:
        """Have everything ended, and leave the cluster; one that was made for this is ended."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._owner:
            return
        with suppress(WaitedTooLong):
            self._call(self._carrier.close(), _CLOSING)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def abandon(self) -> None:
        """In a forked child: leave all to the parent."""
        self._closed = True

    # -- the loop's thread -----------------------------------------------------------------------------------------------

    def _call(self, coroutine: Coroutine[Any, Any, Any], timeout: float | None = None) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def _later(self, function: Any, *args: Any) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(self._in_order, function, *args)

    def _in_order(self, function: Any, *args: Any) -> None:
        """What was started before is known by then."""
        self._take()
        function(*args)

    def _check_open(self) -> None:
        if self._closed:
            raise ManyhandsError("this backend is closed, or belongs to the process that this one was forked from")


def _fresh_name(settings: CommandSettings | FunctionSettings) -> str:
    """RUN-RANDOM: readable, and unlike that of any other execution, also of the same run."""
    run = os.fsdecode(settings.environment.get(b"MH_RUN", b"run"))
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', run)[:200]}-{os.urandom(4).hex()}"
