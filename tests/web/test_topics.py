"""Telling many watchers the same: read once, sent as the same bytes, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from manyhands.web.topics import Topic


async def until(watch: AsyncIterator[bytes], word: bytes) -> bytes:
    """The first message that has it."""
    async for text in watch:
        if word in text:
            return text
    raise AssertionError


def test_watchers_share_one_reader() -> None:
    """Fifty of them cost as many looks as one; who comes late is told all that is known; one who does not read skips what is old."""
    looks = 0

    def look() -> Mapping[str, bytes]:
        nonlocal looks
        looks += 1
        return {"number": b"<%d>" % looks} | ({"once": b"said"} if looks == 1 else {})

    async def scene() -> None:
        with ThreadPoolExecutor(1) as threads:
            closed = asyncio.Event()
            topic = Topic(look, 0.01, threads, closed.set)
            slow = topic.watch()
            assert b"event: once\ndata: said\n\n" in await anext(slow)
            watches = [topic.watch() for _ in range(50)]
            before = looks
            found = await asyncio.gather(*(until(one, b"<%d>" % (before + 5)) for one in watches))
            assert len({*found}) == 1 and looks <= before + 7
            assert b"event: once" in await anext(topic.watch())
            latest = await anext(slow)
            assert latest.count(b"event: number") == 1 and b"<%d>" % before not in latest
            topic.close()
            await closed.wait()

    asyncio.run(scene())
