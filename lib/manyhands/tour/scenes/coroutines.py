"""Coroutines: functions that stop in the middle and go on later, first by hand, then by asyncio."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Generator

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Event, Seen, covered, expect, most_at_once


def running_sum() -> Generator[int, int, None]:
    total = 0
    while True:
        total += yield total


def coroutine_sum() -> None:
    """A generator gets values by send, and keeps its place and its variables in between."""
    adding = running_sum()
    tell("next gives {total}", total=next(adding))
    tell("send(1) gives {total}", total=adding.send(1))
    tell("send(2) gives {total}", total=adding.send(2))
    adding.close()


def coroutine_sum_seen(seen: Seen) -> str:
    totals = [one.data["total"] for one in seen.events]
    expect(totals == [0, 1, 3], f"the sums were {totals}")
    return "the running sum was 0, 1, 3"


Step = Generator[None, None, None]


def give_way(name: str, step: int) -> Step:
    tell("{name} does step {step}", name=name, step=step)
    yield


def loop(name: str, callback: Callable[[str, int], Step]) -> Step:
    for step in range(1, 4):
        yield from callback(name, step)


def run(*loops: Step) -> None:
    ready = deque(loops)
    while ready:
        current = ready.popleft()
        try:
            next(current)
        except StopIteration:
            continue
        ready.append(current)


def coroutine_callbacks() -> None:
    """Each step calls back, the callback yields, and a scheduler of eight lines gives the other loop its turn."""
    run(loop("first", give_way), loop("second", give_way))


def coroutine_callbacks_seen(seen: Seen) -> str:
    order = [(one.data["name"], one.data["step"]) for one in seen.events]
    expect(order == [(name, step) for step in (1, 2, 3) for name in ("first", "second")], f"the order was {order}")
    return "two loops of three steps took turns: " + ", ".join(f"{name} {step}" for name, step in order)


def loop_carelessly(name: str, callback: Callable[[str, int], Step]) -> Step:
    for step in range(1, 4):
        callback(name, step)  # makes a generator, and throws it away
    yield


def coroutine_callbacks_broken() -> None:
    """A generator function that is only called does nothing at all, and says nothing about it."""
    run(loop_carelessly("first", give_way), loop_carelessly("second", give_way))
    tell("the scheduler is done")


def coroutine_callbacks_broken_seen(seen: Seen) -> str:
    steps = seen.all("{name} does")
    expect(not steps and seen.one("the scheduler is done"), "a step was done")
    return "the callbacks were called six times, and not one step was done"


async def say_after(seconds: float, word: str) -> None:
    with doing("says {word} after {seconds} s", word=word, seconds=seconds):
        await asyncio.sleep(scaled(seconds))


def say_blocking(seconds: float, word: str) -> None:
    with doing("says {word} after {seconds} s", word=word, seconds=seconds):
        time.sleep(scaled(seconds))


def blocking() -> None:
    say_blocking(1, "hello")
    say_blocking(2, "world")


async def one_after_another() -> None:
    await say_after(1, "hello")
    await say_after(2, "world")


async def as_tasks() -> None:
    first = asyncio.create_task(say_after(1, "hello"), name="hello")
    second = asyncio.create_task(say_after(2, "world"), name="world")
    await first
    await second


async def bare() -> None:
    first, second = say_after(1, "hello"), say_after(2, "world")  # not begun: only await or a task begins them
    await first
    await second


def asyncio_sleeps() -> None:
    """Two coroutines take turns only if they are tasks; to have made one is not to have begun it."""
    with doing("{way}", way="blocking"):
        blocking()
    for way in (one_after_another, as_tasks, bare):
        with doing("{way}", way=way.__name__):
            asyncio.run(way())


def asyncio_sleeps_seen(seen: Seen) -> str:
    ways = {span.event.data["way"]: span for span in seen.spans("{way}")}
    expect(list(ways) == ["blocking", "one_after_another", "as_tasks", "bare"], "not every way was tried")
    for name, way in ways.items():
        inside = [one for one in seen.spans("says") if way.begin <= one.begin <= way.end]
        expect(len(inside) == 2, f"{name}: {len(inside)} sleeps were seen")
        at_once = 2 if name == "as_tasks" else 1
        expect(most_at_once(inside) == at_once, f"{name}: {most_at_once(inside)} ran at once")
    times = {name: f"{way.took:.2f} s" for name, way in ways.items()}
    return (
        f"1 s and 2 s took {times['blocking']} by time.sleep, {times['one_after_another']} one after another, "
        f"{times['as_tasks']} as tasks, {times['bare']} awaited bare"
    )


async def impatient() -> None:
    try:
        with doing("sleeps for an hour, if it may"):
            await asyncio.wait_for(asyncio.sleep(scaled(3600)), scaled(1))
    except TimeoutError:
        tell("cut after a second")


async def arrive(seconds: float, word: str) -> None:
    with doing("{word} is on its way, for {seconds} s", word=word, seconds=seconds):
        await asyncio.sleep(scaled(seconds))
    tell("{word} arrives", word=word)


def little_more(seconds: float) -> float:
    """5 hundredths of a second more, at nearly any --scale: the machine may be late by that."""
    return scaled(seconds) + min(0.05, scaled(0.5))


async def both(limit: float, *, catches: bool) -> None:
    """Wait for one greeting, then for the other; the limit of the second counts from when main begins to wait for it."""
    hello = asyncio.create_task(arrive(1, "hello"), name="hello")
    world = asyncio.create_task(arrive(2, "world"), name="world")
    try:
        tell("waits for hello, {limit:.2f} s at most", limit=limit)
        await asyncio.wait_for(hello, limit)
    except TimeoutError:
        tell("hello is cut, and main catches the error: {catches}", catches=catches)
        if not catches:
            raise
        await asyncio.sleep(scaled(0.5))  # as the next cell of a notebook is run a little later
    second = little_more(1)
    tell("waits for world, {limit:.2f} s from now at most", limit=second)
    await asyncio.wait_for(world, second)


def asyncio_timeouts() -> None:
    """wait_for cancels what takes too long; its limit counts from the await, and its TimeoutError ends whoever does not catch it."""
    asyncio.run(impatient())
    for limit, catches in ((little_more(1), False), (scaled(0.95), False), (scaled(0.95), True)):
        try:
            asyncio.run(both(limit, catches=catches))
            tell("main has ended well")
        except TimeoutError:
            tell("main has ended with TimeoutError, and all tasks")


def asyncio_timeouts_seen(seen: Seen) -> str:
    (hour,) = seen.spans("sleeps for an hour", 1)
    expect(seen.one("cut after a second").at >= hour.end, "it was not cut")
    ends = seen.all("main has ended", 3)
    expect([one.text.split()[3] for one in ends] == ["well", "with", "well"], "main has ended in another way")
    arrived = [[one.data["word"] for one in seen.all("{word} arrives") if a < one.at < b] for a, b in between(ends)]
    expect(arrived == [["hello", "world"], [], ["world"]], f"arrived: {arrived}")
    expect(seen.data("hello is cut", "catches") == [False, True], "hello was not cut in the second and the third run")
    world, limit = seen.spans("{word} is", 6)[1], seen.data("waits for world", "limit")[0]
    expect(world.took > limit, f"world took {world.took:.2f} s, no more than its limit")
    return (
        f"an hour was cut after {hour.took:.2f} s; world took {world.took:.2f} s and arrived, although its limit was {limit:.2f} s: "
        f"it counts from the await; a time-out that main did not catch ended main, and world with it"
    )


def between(ends: list[Event]) -> list[tuple[float, float]]:
    moments = [0.0, *(one.at for one in ends)]
    return list(itertools.pairwise(moments))


async def produce(queue: asyncio.Queue[int], items: int) -> None:
    for item in range(1, items + 1):
        with doing("makes {item}", item=item):
            await asyncio.sleep(scaled(1))
        await queue.put(item)


async def consume(queue: asyncio.Queue[int]) -> None:
    while True:
        item = await queue.get()
        with doing("uses {item}", item=item):
            await asyncio.sleep(scaled(1))
        queue.task_done()


async def produce_and_consume(items: int) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    consumer = asyncio.create_task(consume(queue), name="consumer")
    await asyncio.create_task(produce(queue, items), name="producer")
    await queue.join()  # until task_done was called for each
    consumer.cancel()


def asyncio_queue() -> None:
    """The consumer is one item behind the producer; join waits for the last task_done."""
    asyncio.run(produce_and_consume(5))


def asyncio_queue_seen(seen: Seen) -> str:
    made, used = seen.spans("makes"), seen.spans("uses")
    for what, spans in (("made", made), ("used", used)):
        expect([one.event.data["item"] for one in spans] == [1, 2, 3, 4, 5], f"not every item was {what}, in its order")
    expect(
        all(use.begin >= make.end for make, use in zip(made, used, strict=True)), "an item was used before it was made"
    )
    expect(used[0].begin < made[1].end and most_at_once(made + used) == 2, "they did not work at the same time")
    return f"5 items, 1 s to make and 1 s to use each, took {covered(made + used):.2f} s: while one was used the next was made"


async def getter(queue: asyncio.Queue[str]) -> None:
    with doing("waits for something"):
        found = await queue.get()
    tell("got {found}", found=found)


async def putter(queue: asyncio.Queue[str]) -> None:
    await asyncio.sleep(scaled(1))
    tell("puts it")
    await queue.put("it")


async def get_before_put() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    await asyncio.gather(
        asyncio.create_task(getter(queue), name="getter"), asyncio.create_task(putter(queue), name="putter")
    )


def asyncio_getter() -> None:
    """Who gets from an empty queue waits, without a loop, until somebody puts."""
    asyncio.run(get_before_put())


def asyncio_getter_seen(seen: Seen) -> str:
    (waiting,), put, got = seen.spans("waits", 1), seen.one("puts it"), seen.one("got")
    expect(waiting.begin < put.at <= got.at, "the getter did not wait for the putter")
    return f"the getter waited {waiting.took:.2f} s, and had it {(got.at - put.at) * 1000:.1f} ms after it was put"
