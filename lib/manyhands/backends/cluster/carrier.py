"""Brings attempts to a cluster and their ends back; all of it runs in one event loop, in a thread of its own.

    give(attempt) --> waiting --parcels, each a task--> Dask --> a worker's site
    put(report)   <-- Started, Ended <-- events, results <------

An attempt that has ended once is forgotten: what comes of it later, because Dask has done its task again or a lost worker is heard of
after all, is not reported.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import chain, count
from typing import Any, Final

from manyhands.backends.cluster import worker_side
from manyhands.backends.cluster.connection import Connection, connected
from manyhands.backends.cluster.crew import Crew, Worker
from manyhands.backends.cluster.flights import Flight, Parcel
from manyhands.backends.cluster.large_outputs import fetched
from manyhands.backends.cluster.one_try import MARK
from manyhands.backends.cluster.sizes import Sizes
from manyhands.backends.cluster.travelling import TOPIC, Began, Over, Remark, Told, ends_unpacked, names_of, packed, sent
from manyhands.backends.protocol import Ended, Noted, Report, Started
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.attempt import Attempt, AttemptId, Ending
from manyhands.work.cluster_address import Cluster

_CLOSING: Final = 12.0
"""Seconds that the sites have to end."""
_LONELY: Final = 2.0
"""After so many seconds without any worker the user is told."""


class Carrier:
    """See the module's first lines. ``put`` and ``wake`` are called from our thread."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        settings: CommandSettings | FunctionSettings,
        put: Callable[[Report], None],
        wake: Callable[[], None],
    ) -> None:
        self._woken = wake
        self.name, self._cluster, self._settings, self._put = name, cluster, settings, put
        self._is_function = isinstance(settings, FunctionSettings)
        self._width = settings.slots
        self.ahead = 64
        """How many attempts are wanted beyond the slots."""
        self.sizes = Sizes(settings.workers.chunk if isinstance(settings, FunctionSettings) else None)
        self._waiting: deque[Attempt] = deque()
        self._flights: dict[AttemptId, Flight] = {}
        self._refused: set[AttemptId] = set()
        """Attempts that are taken back, but whose task may still come to a worker."""
        self._returned: set[AttemptId] = set()
        """Attempts that are sent again, because they had not begun: their task needs another key."""
        self._numbers = count(2)
        self._full: dict[str, bool] = {}
        """Whether a lost worker had begun as much as it could."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connection: Connection | None = None
        self.broken: str | None = None
        """Why nothing more can be done."""
        self._closing = False

    # -- from the beginning to the end -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and open a site on each worker that there is. Raises UsageError or ManyhandsError."""
        baggage = packed(self._settings)
        self._connection = await connected(self._cluster, self._settings.slots)
        client = self._connection.client
        self._client = client
        note: Callable[[str], None] = lambda text: self._put(Noted(text))  # noqa: E731
        self._crew = Crew(self.name, client, baggage, lost=self._lose, note=note, refused=lambda: self._refused)
        await self._crew.check_versions()
        client.subscribe_topic(TOPIC, self._heard)
        await self._crew.look()
        self._do(self._crew.follow())
        self._do(self._connection.keep())
        if (dashboard := self._connection.dashboard) is not None:
            self._put(Noted(f"the cluster's dashboard: {dashboard}", requested=True))
        if not self._crew.workers:
            self._do(self._look_lonely())

    async def _look_lonely(self) -> None:
        await asyncio.sleep(_LONELY)
        if not self._crew.workers:
            self._put(Noted(f"the cluster {self._client.scheduler.address} has no workers yet: the jobs wait for one"))

    async def close(self) -> None:
        """End all attempts, wherever they are, and leave the cluster."""
        self._closing = True
        if self._connection is None:
            return
        try:
            if self.broken is None:
                for parcel in {one.parcel for one in self._flights.values()}:
                    parcel.future.release()
                await asyncio.wait_for(self._crew.ask(partial(worker_side.close_site, self.name)), _CLOSING)
        except (TimeoutError, OSError, RuntimeError, ValueError, AttributeError):
            pass  # the scheduler or a worker is gone; what it has ends without us
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._crew.close()
        await self._connection.close()

    def _do(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- sending ---------------------------------------------------------------------------------------------------------

    def give(self, attempts: Iterable[Attempt]) -> None:
        """Do attempts."""
        self._waiting.extend(attempts)
        self.dispatch()

    def dispatch(self) -> None:
        """Send what may be sent now."""
        if self._crew.paused or self._closing or not self._waiting:
            return
        threads = self._crew.threads
        self.ahead = self.sizes.ahead(threads)
        room, size = self._room(threads)
        batch: list[list[Attempt]] = []
        while room > 0 and self._waiting:
            batch.append([self._waiting.popleft() for _ in range(min(size, room, len(self._waiting)))])
            room -= len(batch[-1])
        if batch:
            self._submit(batch)
        if self._waiting and (seconds := self.sizes.patience()) is not None:
            asyncio.get_running_loop().call_later(seconds, self.dispatch)

    def _room(self, threads: int) -> tuple[int, int]:
        """(how many attempts may be sent now, how many of them as one task)."""
        if self._width >= threads:
            return self.sizes.room(self._width, threads, len(self._flights), len(self._waiting))
        slots = max(min(one.threads, self._settings.slots) for one in self._crew.workers.values())
        parcels = {flight.parcel for flight in self._flights.values()}
        used = sum(min(slots, len(one.left)) for one in parcels)
        fresh = any(one.is_fresh for one in parcels)
        return self.sizes.narrow_room(self._width, slots, used, fresh=fresh)

    def _submit(self, batch: Sequence[Sequence[Attempt]]) -> None:
        import dask

        arguments = [[sent(one, function=self._is_function) for one in attempts] for attempts in batch]
        try:
            with (
                dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"}),
                dask.annotate(**{MARK: True}),
            ):
                futures = self._client.map(
                    worker_side.perform,
                    [self.name] * len(batch),
                    arguments,
                    key=[self._key(attempts) for attempts in batch],
                    pure=False,
                    retries=0,
                )
        except Exception as error:  # whatever Dask makes of them, nobody may wait for these attempts for ever
            for one in chain.from_iterable(batch):
                self._put(Ended(one, time.monotonic(), Ending(error=f"it cannot be sent: {error}"), began=False))
            return
        for future, attempts in zip(futures, batch, strict=True):
            parcel = Parcel(future, (one.id for one in attempts))
            self._flights.update((one.id, Flight(one, parcel)) for one in attempts)
            self._do(self._follow(parcel))

    def _key(self, attempts: Sequence[Attempt]) -> tuple[str, str]:
        """``("nightly-3f0a9c41", "7.1")``: Dask groups what has the same beginning, and shows it so."""
        name = names_of(attempts)
        if self._returned and any(one.id in self._returned for one in attempts):
            name = f"{name}~{next(self._numbers)}"
        return self.name, name

    def _return(self, attempts: Sequence[Attempt]) -> None:
        """Send attempts again that have not begun."""
        self._returned.update(one.id for one in attempts)
        self._waiting.extendleft(reversed(attempts))

    async def _follow(self, parcel: Parcel) -> None:
        """Wait for the end of a task."""
        try:
            address, ends = await parcel.future
        except Exception as error:  # the task's own, or that of its worker
            self._failed(parcel, error)
        else:
            for end in ends_unpacked(ends):
                self._ended(end, address)
            self._lose_ids(
                parcel.left, address, f"its worker {address} has ended it, because it had no sign of life of this batch"
            )
        finally:
            parcel.future.release()
        self.dispatch()

    def _failed(self, parcel: Parcel, error: Exception) -> None:
        """A task has no result: its worker or the scheduler is lost, or it could not even begin."""
        if getattr(error, "reason", None) == "scheduler-connection-lost":
            self._break(f"the scheduler {self._client.scheduler.address} was lost")
            return
        if type(error).__name__ != "KilledWorker":
            for id in [*parcel.left]:
                self._end(
                    id, Ending(error=f"no worker could begin it: {type(error).__name__}: {error!s:.300}"), began=False
                )
            return
        address = str(getattr(error.args[1], "address", error.args[1]))
        if self._was_full(address):
            self._return([self._take(id).attempt for id in [*parcel.left] if not self._flights[id].begun])
        self._lose_ids(parcel.left, address)

    def _was_full(self, address: str) -> bool:
        """Whether a lost worker had begun as much as it could, so that nothing else had begun there."""
        if address not in self._full:
            worker = self._crew.known.get(address)
            begun = sum(one.owner == address for one in self._flights.values())
            self._full[address] = worker is not None and begun >= worker.threads
        return self._full[address]

    def _take(self, id: AttemptId) -> Flight:
        flight = self._flights.pop(id)
        flight.parcel.left.discard(id)
        self._refused.discard(id)
        self._returned.discard(id)
        return flight

    # -- what is heard ---------------------------------------------------------------------------------------------------

    def _heard(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if not isinstance(message, dict) or message.get("run") != self.name:
            return
        if not message["news"]:
            self._crew.open_again(message["worker"])
            return
        news: list[Told] = pickle.loads(message["news"])  # noqa: S301 - the workers of a cluster are trusted, see docs/dask.md
        for one in news:
            if isinstance(one, Began):
                self._began(one, message["worker"])
            elif isinstance(one, Over):
                self._ended(one, message["worker"])
            elif isinstance(one, Remark):
                self._put(Noted(f"{message['worker']}: {one.text}"))
            else:
                self._break(f"the worker {message['worker']}: {one.why}")
        self.dispatch()

    def _began(self, one: Began, address: str) -> None:
        if (flight := self._flights.get(one.id)) is None:
            return
        if flight.begun:
            if flight.owner != address:  # Dask does it again, because the worker is lost: that is not its decision
                self._lose_ids([one.id], flight.owner or address)
            return
        flight.begun, flight.owner = True, address
        self.sizes.runs()
        self._put(Started(flight.attempt, self._here(address, one.at), one.slot, one.pid, address))

    def _here(self, address: str, at: float) -> float:
        worker, now = self._crew.known.get(address), time.monotonic()
        return now if worker is None else min(worker.clock.here(at), now)

    def _ended(self, over: Over, address: str) -> None:
        """The first end counts."""
        flight = self._flights.get(over.id)
        if flight is None or (flight.owner not in (None, address)):
            return
        self._take(over.id)
        if over.again and not flight.recalled:
            self._return([flight.attempt])
            return
        at = self._here(address, over.at)
        if over.stopped and flight.stopped is not None:
            at = max(
                at, flight.stopped
            )  # it is known which came first, and the two clocks only agree to some milliseconds
        if over.began:
            self.sizes.note(over.ending.wall)
        started = time.time() - (time.monotonic() - (at - over.ending.wall))
        ending = over.ending._replace(started=started, host=address if over.began else None)
        report = Ended(flight.attempt, at, ending, over.began, over.died, over.pid)
        if ending.stdout.path is not None or ending.stderr.path is not None:
            self._do(self._fetch(report, address))
        else:
            self._put(report)

    async def _fetch(self, report: Ended, address: str) -> None:
        """Report an end when its large outputs are here."""
        ask = partial(self._crew.ask_patiently, workers=[address])
        ending, missing = await fetched(report, self.name, self._settings.outputs, ask)
        if missing:
            self._put(Noted(f"job {report.attempt.job.number}: {missing}"))
        self._put(report._replace(ending=ending))

    def _end(self, id: AttemptId, ending: Ending, *, began: bool) -> None:
        flight = self._take(id)
        self._put(Ended(flight.attempt, time.monotonic(), ending, began))

    # -- losses ----------------------------------------------------------------------------------------------------------

    def _lose(self, worker: Worker) -> None:
        """A worker is gone: what it had begun is lost, whatever Dask makes of it."""
        self._was_full(worker.address)
        ids = [id for id, one in self._flights.items() if one.owner == worker.address]
        if ids:
            self._put(Noted(f"the worker {worker.address} was lost"))
        self._lose_ids(ids, worker.address)
        self.dispatch()

    def _lose_ids(self, ids: Collection[AttemptId], address: str, why: str = "") -> None:
        for id in [*ids]:
            parcel = self._flights[id].parcel
            why = why or f"its worker {address} was lost"
            self._end(id, Ending(error=why, host=address), began=True)
            if not parcel.left:
                parcel.future.release()

    def _break(self, why: str) -> None:
        """The scheduler is gone, and with it every task; or a worker that can do nothing would get all of them."""
        if self.broken is None:
            self.broken = why
            for id, flight in [*self._flights.items()]:
                self._end(id, Ending(error=why, host=flight.owner), began=True)
            self._woken()

    # -- what the engine wants -------------------------------------------------------------------------------------------

    def recall(self, ids: Sequence[AttemptId]) -> None:
        """Take back what has not begun."""
        if there := self._withdraw(ids):
            self._do(self._withdrawn(there, partial(worker_side.recall, self.name, there)))

    def stop(self, ids: Sequence[AttemptId], *, kill: bool) -> None:
        """Take back what has not begun, and end the rest."""
        now = time.monotonic()
        for id in ids:
            if (flight := self._flights.get(id)) is not None:
                flight.stopped = flight.stopped or now
        if there := self._withdraw(ids):
            self._do(self._withdrawn(there, partial(worker_side.stop, self.name, there, kill)))

    def _withdraw(self, ids: Sequence[AttemptId]) -> list[AttemptId]:
        """Report as not begun what waits here; which of the others are on their way."""
        wanted = set(ids)
        back = [one for one in self._waiting if one.id in wanted]
        if back:
            self._waiting = deque(one for one in self._waiting if one.id not in wanted)
        for one in back:
            self._put(Ended(one, time.monotonic(), began=False))
        there = [id for id in ids if id in self._flights]
        for id in there:
            self._flights[id].recalled = True
            if not self._flights[id].begun:
                self._refused.add(id)
        return there

    async def _withdrawn(self, ids: Sequence[AttemptId], call: partial[Any]) -> None:
        """Ask the workers; what none of them has, begins nowhere any more."""
        answers = await self._crew.ask(call)
        here = {id for found in answers.values() if isinstance(found, list) for id in found}
        for id in ids:
            flight = self._flights.get(id)
            if flight is None or id in here or flight.begun:
                continue
            parcel = flight.parcel
            self._end(id, Ending(), began=False)
            if parcel.left:
                self._refused.add(id)  # its task comes to a worker all the same
            else:
                parcel.future.release()

    async def pause(self, paused: bool) -> None:
        """Suspend or continue all attempts."""
        self._crew.paused = paused
        await self._crew.ask(partial(worker_side.pause, self.name, paused))
        self.dispatch()

    def limit(self, width: int) -> None:
        """From now on at most ``width`` at once."""
        self._width = width
        self.dispatch()
