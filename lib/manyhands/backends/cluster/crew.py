"""The workers of a cluster, as they come and go: on each the site of our execution is opened, and its clock is compared with ours."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from manyhands.backends.cluster import worker_side
from manyhands.backends.cluster.travelling import Baggage, Greeting
from manyhands.backends.site.clock import FarClock
from manyhands.core.attempt import AttemptId
from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as
from manyhands.core.records import dataclass

_LOOK: Final = 0.5
"""Seconds between two looks at which workers there are."""
_PATIENCE: Final = 2.0
"""Seconds after which a worker that does not answer is no longer waited for,"""
_SHARE: Final = 8
"""or this share of the lease, if that is less: the others wait for a sign of life meanwhile."""
_WORDS: Final = 200
_VERSIONS: Final = (
    "(__import__('manyhands').__version__ if __import__('importlib.util').util.find_spec('manyhands') else '',"
    " __import__('platform').python_version())"
)
"""What is evaluated at each worker, which may have nothing of ours."""


@dataclass(slots=True)
class Worker:
    """A worker whose site is open."""

    address: str
    threads: int
    clock: FarClock


class Crew:
    """See the module's first lines. ``lost`` is called with each worker that is gone, ``note`` with what the user should know, and ``refused`` gives the
    attempts that must begin nowhere."""

    def __init__(
        self,
        run: str,
        client: Any,
        baggage: Baggage,
        *,
        lost: Callable[[Worker], None],
        note: Callable[[str], None],
        refused: Callable[[], Collection[AttemptId]],
    ) -> None:
        self._run, self._client, self._baggage = run, client, baggage
        self._lost, self._note, self._refused = lost, note, refused
        self.workers: dict[str, Worker] = {}
        self.known: dict[str, Worker] = {}
        """Also those that are gone."""
        self.paused = False
        self._set_aside: set[str] = set()
        """Those on which the site cannot be opened."""
        self._calls: set[asyncio.Task[dict[str, Any]]] = set()
        self._silent: set[str] = set()
        """Those that have been called, and have not answered yet: they are stopped, or cut off."""
        self._patience = min(_PATIENCE, baggage.settings.lease / _SHARE)
        self._look_now = asyncio.Event()
        self._next_beat = time.monotonic()

    @property
    def threads(self) -> int:
        """Of all workers together."""
        return sum(one.threads for one in self.workers.values())

    async def check_versions(self) -> None:
        """Raise UsageError unless every worker that there is has our version of manyhands, and of Python."""
        found: dict[str, Any] = await self._client.run(eval, _VERSIONS, on_error="return")
        ours = worker_side.version(), platform.python_version()
        for address, there in found.items():
            if not isinstance(there, tuple):
                raise self._mistake(f"{address} does not answer as it should: {there!r}")
            if there[0] != ours[0]:
                has = f"manyhands {there[0]}" if there[0] else "no manyhands"
                raise self._mistake(f"{address} has {has}, and this is {ours[0]}: install it there")
            if _minor(there[1]) != _minor(ours[1]):
                raise self._mistake(f"{address} has Python {there[1]}, and this is {ours[1]}")

    def _mistake(self, why: str) -> UsageError:
        return UsageError(f"{given_as('--cluster', self._client.scheduler.address)}: the worker {why}")

    async def look(self) -> None:
        """Look which workers there are: open sites on new ones, and report those that are gone."""
        threads: dict[str, int] = await self._client.nthreads()
        for address in [one for one in self.workers if one not in threads]:
            self._lost(self.workers.pop(address))
        self._set_aside &= set(threads)
        new = [one for one in threads if one not in {*self.workers, *self._set_aside, *self._silent}]
        if new:
            await self._open(new, threads)

    async def _open(self, new: Sequence[str], threads: dict[str, int]) -> None:
        asked = time.monotonic()
        call = partial(
            worker_side.open_site,
            self._run,
            self._baggage,
            [*self._refused()],
            self.paused,
        )
        found = await self.ask(call, workers=new)
        for address, answer in found.items():
            if isinstance(answer, Greeting):
                clock = FarClock()
                clock.answered(asked, time.monotonic(), answer.at)
                self.workers[address] = self.known[address] = Worker(address, threads[address], clock)
                if self.paused:  # since it was asked
                    await self.ask(partial(worker_side.pause, self._run, True), workers=[address])
            elif not isinstance(answer, OSError):  # which is one that has just gone
                self._set_aside.add(address)
                self._note(f"the worker {address} cannot be used: {type(answer).__name__}: {answer!s:.{_WORDS}}")

    async def ask(self, call: partial[Any], *, workers: Sequence[str] | None = None) -> dict[str, Any]:
        """What workers answer to a call, all by default; an exception in the place of an answer that did not come in time. The call
        reaches them all the same, as soon as they can take it."""
        where = [*self.workers] if workers is None else [*workers]
        if not where:
            return {}
        task = asyncio.get_running_loop().create_task(self.ask_patiently(call, where))
        self._calls.add(task)
        task.add_done_callback(self._over)
        await asyncio.wait({task}, timeout=self._patience)
        if task.done():
            return task.result()
        if len(where) > 1:  # Dask waits for all of them: each is asked apart
            answers = await asyncio.gather(*(self.ask(call, workers=[one]) for one in where))
            return {address: answer for found in answers for address, answer in found.items()}
        self._silent.add(where[0])
        task.add_done_callback(lambda _: self._silent.discard(where[0]))
        return {where[0]: TimeoutError("it has not answered")}

    async def ask_patiently(self, call: partial[Any], workers: Sequence[str]) -> dict[str, Any]:
        """The same, however long it takes."""
        found: dict[str, Any] = await self._client.run(
            call.func, *call.args, workers=[*workers], on_error="return", **call.keywords
        )
        return found

    def _over(self, task: asyncio.Task[dict[str, Any]]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # asked for, so that asyncio does not report that nobody has

    async def close(self) -> None:
        """Wait for no answer any more."""
        for task in [*self._calls]:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def follow(self) -> None:
        """Look again and again, until it is cancelled; give signs of life."""
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), _LOOK)
            self._look_now.clear()
            with suppress(OSError, RuntimeError, ValueError):  # the scheduler is gone, as others will find, too
                await self.look()
                if time.monotonic() >= self._next_beat:
                    await self._beat()

    async def _beat(self) -> None:
        self._next_beat = time.monotonic() + self._baggage.settings.lease / 4
        asked = time.monotonic()
        found = await self.ask(partial(worker_side.beat, self._run), workers=[*self.workers.keys() - self._silent])
        for address, at in found.items():
            if isinstance(at, float) and (one := self.workers.get(address)):
                one.clock.answered(asked, time.monotonic(), at)

    def open_again(self, address: str) -> None:
        """A worker waits for its site: it is new, or has closed it."""
        self.workers.pop(address, None)
        self._look_now.set()


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
