"""Waiting in an event loop for what a batch's thread sends, so that nothing else in that loop has to wait.

    engine's thread --Channel.arrived: call_soon_threadsafe--> event loop: an asyncio.Event --> `LoopWaiter.take`

Separate from `manyhands.api.results`, because asyncio is imported here, which only programs that use it should wait for.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from manyhands.core.events import Event
from manyhands.engine.channel import Closed
from manyhands.execution.batch_thread import InThread


class LoopWaiter:
    """Takes what comes from a thread in the event loop that runs here."""

    def __init__(self, carrier: InThread) -> None:
        self._carrier = carrier
        self._loop, self._bell = asyncio.get_running_loop(), asyncio.Event()
        carrier.channel.arrived = self._ring

    def _ring(self) -> None:
        """In the sender's thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._bell.set)

    async def take(self, timeout: float | None = None) -> list[Event]:
        """See `manyhands.execution.batch_thread.Carrier.take`. The loop has its turn, whether there is something or not."""
        self._bell.clear()  # before the look: what comes after it rings again
        if events := self._carrier.take(0):
            await asyncio.sleep(0)
            return events
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._bell.wait()
        return []

    async def leave(self) -> None:
        """End what runs, and wait until that is recorded; or for the grace and some seconds if it does not end."""
        self._carrier.leave()
        with suppress(Closed, TimeoutError):
            async with asyncio.timeout(self._carrier.patience):
                while True:
                    await self.take()
