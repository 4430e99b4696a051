"""One that does not give way: in an event loop, or among greenlets, it stops everybody else; a thread is the way out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Seen, expect


def work_time() -> float:
    """Seconds that the work takes: long enough for the heart to beat, on a busy machine, too."""
    return max(0.4, scaled(1))


def compute() -> None:
    end = time.monotonic() + work_time()
    while time.monotonic() < end:
        sum(range(1000))


def wait() -> None:
    time.sleep(work_time())  # the standard sleep, which knows nothing of the others


WORKS = {"computes": compute, "calls time.sleep": wait}


def beat_greenlet() -> None:
    import gevent

    gevent.getcurrent().name = "heart"
    while True:
        tell("beats")
        gevent.sleep(work_time() / 5)


def with_gevent(do: Callable[[Any, Callable[[], None]], None]) -> None:
    import gevent

    heart = gevent.spawn(beat_greenlet)
    gevent.sleep(0)  # it has begun
    for name, function in WORKS.items():
        with doing("another {name}", name=name):
            do(gevent.get_hub().threadpool, function)
        gevent.sleep(work_time() / 2)
    heart.kill()
    gevent.get_hub().threadpool.kill()


async def beat_task() -> None:
    while True:
        tell("beats")
        await asyncio.sleep(work_time() / 5)


async def with_asyncio(in_thread: bool) -> None:
    heart = asyncio.create_task(beat_task(), name="heart")
    await asyncio.sleep(0)  # it has begun
    for name, function in WORKS.items():
        with doing("another {name}", name=name):
            if in_thread:
                await asyncio.to_thread(function)
            else:
                function()
        await asyncio.sleep(work_time() / 2)
    heart.cancel()


def loop_hog(via: str) -> None:
    """What computes, or waits in its own way, is given to a thread; the loop goes on meanwhile."""
    if via == "gevent":
        with_gevent(lambda pool, function: pool.apply(function))
    else:
        asyncio.run(with_asyncio(in_thread=True))


def beats_during(seen: Seen) -> dict[str, int]:
    """How often the heart has beaten while each piece of work was done."""
    spans, beats = seen.spans("another", len(WORKS)), seen.all("beats")
    expect(len({(one.pid, one.thread) for one in beats}) == 1, "the heart is in several threads")
    return {one.event.data["name"]: sum(one.begin < beat.at < one.end for beat in beats) for one in spans}


def loop_hog_seen(seen: Seen) -> str:
    beats = beats_during(seen)
    expect(all(beats.values()), f"the heart has beaten {beats}")
    return "in a thread it disturbs nobody: " + ", ".join(
        f"{count} beats while another {name}" for name, count in beats.items()
    )


def loop_hog_broken(via: str) -> None:
    """The same work in the loop itself: nobody else has a turn until it is done."""
    if via == "gevent":
        with_gevent(lambda _, function: function())
    else:
        asyncio.run(with_asyncio(in_thread=False))


def loop_hog_broken_seen(seen: Seen) -> str:
    beats, told = beats_during(seen), seen.all("beats")
    expect(not any(beats.values()), f"the heart has beaten {beats}")
    expect(len(told) > 2, "it did not beat before and after")
    longest = max(two.at - one.at for one, two in pairwise(told))
    return (
        f"not one beat while another computed, nor while it called time.sleep; the heart stood still for {longest:.2f} s"
    )
