"""What a worker of a cluster is asked to do: Dask calls these functions by their names, so every worker has to have manyhands.

`perform` is a task, which waits in a thread of the worker for its attempts; all others are called by ``client.run`` in the worker's
event loop, and do not wait. A task that Dask has cancelled, because the client that wanted it is gone, ends what it has begun.
"""

from __future__ import annotations

import asyncio
import pickle
import platform
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing.process import current_process
from typing import Any, Final

from manyhands.backends.cluster.site import Site
from manyhands.backends.cluster.travelling import TOPIC, Baggage, Greeting, Sent, Told, ends_packed
from manyhands.core.attempt import AttemptId

_LOOK: Final = 0.25
"""Seconds until a task looks again whether it is still wanted."""
_CLOSED: Final = ("closing", "closed", "failed")
_ENDING: Final = 10.0
"""Seconds that a site has to end."""
_sites: Final[dict[str, Site]] = {}
_watches: Final[set[asyncio.Task[None]]] = set()
_opened: Final = threading.Condition()


# -- a task --------------------------------------------------------------------------------------------------------------


def perform(run: str, attempts: Sequence[Sent]) -> tuple[str, bytes]:
    """Do attempts of an execution whose site is open here, or will be: the address of this worker, and how each ended; nothing, if
    nobody wants them any more."""
    from distributed import get_worker

    worker: Any = get_worker()
    key = worker.get_current_task()
    site = _sites.get(run) or _awaited(run, worker, key)
    if site is None:
        return worker.address, ends_packed([])
    parcel = site.take(attempts)
    while not parcel.over.wait(_LOOK):
        if not _is_wanted(worker, key):
            site.drop([*parcel.left])
            return worker.address, ends_packed([])
        if site.is_closed:
            break
    return worker.address, ends_packed(parcel.ends)


def _awaited(run: str, worker: Any, key: Any) -> Site | None:
    """The site, when the coordinator has opened it; it is told that there is none. None: the task is not wanted any more."""
    worker.log_event(TOPIC, {"run": run, "worker": worker.address, "news": b""})
    with _opened:
        while run not in _sites:
            _opened.wait(_LOOK)
            if not _is_wanted(worker, key):
                return None
        return _sites[run]


def _is_wanted(worker: Any, key: Any) -> bool:
    """Whether the scheduler still wants the result: it tells the worker when it does not, and cannot interrupt a task. Nobody wants
    the results of a worker that is closing: it waits for its tasks."""
    if worker.status.name in _CLOSED:
        return False
    state = worker.state.tasks.get(key)
    return state is not None and state.state != "cancelled"


# -- called in the event loop --------------------------------------------------------------------------------------------


async def open_site(
    run: str, baggage: Baggage, refused: Sequence[AttemptId], paused: bool, dask_worker: Any = None
) -> Greeting:
    """Open the site of an execution, with as many slots as this worker has threads, or as many as are wanted, unless it is open."""
    if run not in _sites:
        # what is forked here is no Dask task; Dask lets its workers have no children, so that they end with their nanny, and ours end by themselves
        getattr(current_process(), "_config", {}).pop("daemon", None)
        tell = partial(_tell, dask_worker, run)
        slots = min(dask_worker.state.nthreads, baggage.settings.slots)
        site = Site(run, baggage, slots, tell)
        site.refuse(refused)
        if paused:
            site.hold(True)
        with _opened:
            _sites[run] = site
            _opened.notify_all()
        watch = asyncio.get_running_loop().create_task(_watch(run, site), name=f"manyhands-{run}")
        _watches.add(watch)
        watch.add_done_callback(_watches.discard)
    return Greeting(time.monotonic(), platform.python_version(), version())


def version() -> str:
    """That of manyhands."""
    return str(sys.modules[__name__.partition(".")[0]].__dict__["__version__"])


def _tell(worker: Any, run: str, news: list[Told]) -> None:
    worker.log_event(TOPIC, {"run": run, "worker": worker.address, "news": pickle.dumps(news)})


async def _watch(run: str, site: Site) -> None:
    """Close the site when its coordinator is gone."""
    while _sites.get(run) is site:
        if site.is_orphan:
            await close_site(run)
        await asyncio.sleep(1.0)


def beat(run: str) -> float:
    """The coordinator is alive; what our clock says."""
    if (site := _sites.get(run)) is not None:
        site.heard = time.monotonic()
    return time.monotonic()


def stop(run: str, ids: Sequence[AttemptId], kill: bool) -> list[AttemptId]:
    """End attempts; which of them are here. The others are refused from now on."""
    if (site := _sites.get(run)) is None:
        return []
    here = site.withdraw(ids)
    site.stop(here, kill=kill)
    return here


def recall(run: str, ids: Sequence[AttemptId]) -> list[AttemptId]:
    """Give back attempts that have not begun; which of them are here. The others are refused from now on."""
    if (site := _sites.get(run)) is None:
        return []
    here = site.withdraw(ids)
    site.recall(here)
    return here


def pause(run: str, paused: bool) -> None:
    """Suspend or continue all attempts of an execution."""
    if (site := _sites.get(run)) is not None:
        site.hold(paused)


def read(run: str, id: AttemptId, stream: int, offset: int, size: int) -> bytes | None:
    """A piece of an output; None if it is gone."""
    try:
        return _sites[run].read(id, stream, offset, size)
    except (LookupError, OSError):
        return None


async def close_site(run: str) -> None:
    """End everything of an execution, and wait for that, but not for ever."""
    if (site := _sites.pop(run, None)) is not None:
        site.close()
        await asyncio.wait_for(asyncio.to_thread(site.join), _ENDING)
