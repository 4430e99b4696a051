"""What watchers are told: each topic is read by one task while somebody watches it, and told to all of them as the same bytes.

    look() --in a thread, every PAUSE--> Topic.said --latest only--> Watcher of each page (server-sent events)

A watcher who reads slowly skips what has been replaced meanwhile: nothing is queued for anybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

BEAT: Final = 15.0
"""Seconds without news after which a line is sent all the same, so that a watcher who is gone is noticed."""
_LINGER: Final = 20.0
"""Seconds that a topic is kept after its last watcher has left: a page that is loaded again finds it."""


class Topic:
    """``look`` returns what is new, by the name of the event; it is called in ``threads``, never twice at once."""

    def __init__(
        self, look: Callable[[], Mapping[str, bytes]], pause: float, threads: Executor, closed: Callable[[], None]
    ) -> None:
        self._look, self._pause, self._threads, self._closed = look, pause, threads, closed
        self._said: dict[str, tuple[int, bytes]] = {}
        self._version = 0
        self._news = asyncio.Event()
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Look at once: somebody has done something."""
        self._hurry.set()

    async def watch(self) -> AsyncIterator[bytes]:
        """The events as they are sent, first all that is known; an empty line of comment if there is nothing new for a while."""
        self._watchers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._keep_looking())
        seen = 0
        try:
            while True:
                fresh = [text for version, text in self._said.values() if version > seen]
                seen = self._version
                if fresh:
                    yield b"".join(fresh)
                    continue
                news = self._news
                try:
                    await asyncio.wait_for(news.wait(), BEAT)
                except TimeoutError:
                    yield b":\n\n"
        finally:
            self._watchers -= 1

    async def _keep_looking(self) -> None:
        left = time.monotonic()
        try:
            while self._watchers or time.monotonic() - left < _LINGER:
                if self._watchers:
                    left = time.monotonic()
                    found = await asyncio.get_running_loop().run_in_executor(self._threads, self._look)
                    self._tell(found)
                self._hurry.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._pause)
        finally:
            self._task = None
            self._closed()

    def _tell(self, found: Mapping[str, bytes]) -> None:
        if not found:
            return
        self._version += 1
        for name, text in found.items():
            self._said[name] = self._version, b"event: %b\ndata: %b\n\n" % (name.encode(), text)
        news, self._news = self._news, asyncio.Event()
        news.set()

    def close(self) -> None:
        """End the task: the server ends."""
        if self._task is not None:
            self._task.cancel()
