"""The piece of work that ``tour.compare`` does in every way: one that computes, one that waits, each also as a coroutine."""

from __future__ import annotations

import asyncio
import time


def cpu(steps: int) -> int:
    """Keep a core busy."""
    return sum(range(steps))


def io(milliseconds: int) -> int:
    """Wait, as for a disk or a network."""
    time.sleep(milliseconds / 1000)
    return milliseconds


async def cpu_async(steps: int) -> int:
    """In an event loop nothing else goes on meanwhile."""
    return cpu(steps)


async def io_async(milliseconds: int) -> int:
    """In an event loop everything else goes on meanwhile."""
    await asyncio.sleep(milliseconds / 1000)
    return milliseconds
