"""What it costs to make, to hold and to switch between processes, threads, greenlets and tasks: measured, not believed."""

from __future__ import annotations

import asyncio
import gc
import math
import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import psutil

from manyhands.tour.scene_tools import doing, tell
from manyhands.tour.seen import Seen, expect

SWITCHES = 2_000
UNITS = {"making": "us", "holding": "KiB", "switching": "us"}


class Kit(NamedTuple):
    """How to make one, and what they wait with: the same names for processes, threads and greenlets."""

    make: Callable[..., Any]
    semaphore: Callable[[int], Any]
    event: Callable[[], Any]


def kit_of(kind: str) -> Kit:
    if kind == "process":
        return Kit(multiprocessing.Process, multiprocessing.Semaphore, multiprocessing.Event)
    if kind == "thread":
        return Kit(threading.Thread, threading.Semaphore, threading.Event)
    from gevent import Greenlet
    from gevent.event import Event
    from gevent.lock import Semaphore

    return Kit(lambda target, args: Greenlet(target, *args), Semaphore, Event)


def stay(here: Any, end: Any) -> None:
    here.release()
    end.wait()


def answer(ping: Any, pong: Any) -> None:
    for _ in range(SWITCHES):
        ping.acquire()
        pong.release()


def memory(*pids: int | None) -> float:
    """Bytes that no other process has: the mean of these processes, or our own."""
    found = [psutil.Process(pid).memory_full_info().uss for pid in pids or [None]]
    return sum(found) / len(found)


def start(kit: Kit, count: int, here: Any, end: Any) -> list[Any]:
    """As many as the system allows."""
    started = []
    for _ in range(count):
        one = kit.make(target=stay, args=(here, end))
        try:
            one.start()
        except (OSError, RuntimeError):  # there may not be more
            break
        started.append(one)
    for _ in started:
        here.acquire()
    return started


def measure(kind: str, count: int) -> dict[str, float]:
    """Make them all, hold them all, and let two of them talk."""
    kit = kit_of(kind)
    here, end, ping, pong = kit.semaphore(0), kit.event(), kit.semaphore(0), kit.semaphore(0)
    before, began = memory(), time.perf_counter()
    started = start(kit, count, here, end)
    made, number = time.perf_counter() - began, len(started)
    held = memory(*[one.pid for one in started[:10]]) if kind == "process" else (memory() - before) / number
    end.set()
    for one in started:
        one.join()
    other = kit.make(target=answer, args=(ping, pong))
    other.start()
    began = time.perf_counter()
    for _ in range(SWITCHES):
        ping.release()
        pong.acquire()
    switched = time.perf_counter() - began
    other.join()
    return {"count": number, "making": made / number, "holding": held, "switching": switched / SWITCHES / 2}


async def measure_tasks(count: int) -> dict[str, float]:
    """The same with await: a coroutine cannot wait as the others do."""
    here, end, ping, pong = asyncio.Semaphore(0), asyncio.Event(), asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def stay() -> None:
        here.release()
        await end.wait()

    async def answer() -> None:
        for _ in range(SWITCHES):
            await ping.acquire()
            pong.release()

    before, began = memory(), time.perf_counter()
    tasks = [asyncio.create_task(stay()) for _ in range(count)]
    for _ in tasks:
        await here.acquire()
    made, held = time.perf_counter() - began, memory() - before
    end.set()
    await asyncio.gather(*tasks)
    other = asyncio.create_task(answer())
    began = time.perf_counter()
    for _ in range(SWITCHES):
        ping.release()
        await pong.acquire()
    switched = time.perf_counter() - began
    await other
    return {"count": count, "making": made / count, "holding": held / count, "switching": switched / SWITCHES / 2}


def measure_and_say(kind: str, count: int, saying: Connection) -> None:
    gc.collect()  # touch everything that we have from our parent, so that it is ours before we measure
    with doing("{kind}: measures {count:,}", count=count, kind=kind):
        found = asyncio.run(measure_tasks(count)) if kind == "task" else measure(kind, count)
    saying.send(found)


def show(what: str, unit: str, found: dict[str, dict[str, float]]) -> None:
    least = max(min(one[what] for one in found.values()), 1e-9)
    for kind, one in found.items():
        value = one[what] * 1e6 if unit == "us" else one[what] / 1024
        bar = "█" * (1 + round(math.log2(max(one[what] / least, 1))))
        tell("{what:<9} a {kind:<8} {value:8,.1f} {unit:<3} {bar}", what=what, kind=kind, value=value, unit=unit, bar=bar)


def costs(count: int, processes: int) -> None:
    """Each kind in a process of its own, so that none finds what another has left; a block more in a bar means twice as much."""
    found = {}
    for kind in ("process", "thread", "greenlet", "task"):
        hearing, saying = multiprocessing.Pipe(duplex=False)
        number = processes if kind == "process" else count
        measuring = multiprocessing.Process(target=measure_and_say, args=(kind, number, saying), name=kind)
        measuring.start()
        saying.close()
        found[kind] = hearing.recv()
        measuring.join()
        tell("{kind}: made and held {number:,} at the same time", kind=kind, number=found[kind]["count"])
    for what, unit in UNITS.items():
        show(what, unit, found)


def costs_seen(seen: Seen) -> str:
    kinds = ["process", "thread", "greenlet", "task"]
    told = seen.all("{what", len(UNITS) * len(kinds))
    value = {(one.data["what"], one.data["kind"]): one.data["value"] for one in told}
    numbers = {one.data["kind"]: one.data["number"] for one in seen.all("{kind}: made", len(kinds))}
    for kind in ("greenlet", "task"):
        expect(numbers[kind] == seen.options["count"], f"there were {numbers[kind]:,} of kind {kind}")
    held = sorted(kinds, key=lambda kind: -value["holding", kind])
    expect(held == kinds and value["holding", "task"] > 0, f"memory: {' > '.join(held)}")
    made = sorted(kinds, key=lambda kind: -value["making", kind])  # thread and greenlet may change places by chance
    expect(made[0] == "process" and made[-1] == "task", f"making: {' > '.join(made)}")
    most = {what: value[what, "process"] / value[what, "task"] for what in ("making", "holding")}
    return seen.timed(
        f"memory: {' > '.join(held)}; making: {' > '.join(made)}; a process cost as much memory as {most['holding']:,.0f} tasks, "
        f"and took as long as {most['making']:,.0f}"
    )
