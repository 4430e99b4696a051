"""Washing up: washers put dishes on a rack, dryers take them, all at their own speed; or in one of three ways without a rack."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from multiprocessing import Process, SimpleQueue
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.scenes.dishes_ways import alone, alone_async, batch, batch_async, line, line_async, ways_seen
from manyhands.tour.scenes.kitchen import STEPS, do, name_of, rack_of, start
from manyhands.tour.seen import Seen, Span, expect


def depth_of(rack: Any) -> int | None:
    try:
        return int(rack.qsize())
    except NotImplementedError:  # macOS cannot tell it of processes
        return None


def say_depth(dish: int, depth: int | None) -> None:
    dots = "?" if depth is None else "●" * depth
    tell("{name} is on the rack: {dots}", name=name_of(dish), dots=dots, dish=dish, depth=depth)


def washer(via: str, dishes: list[int], rack: Any, seconds: float) -> None:
    for dish in dishes:
        do(via, "wash", dish, seconds)
        rack.put(dish)  # waits while the rack is full
        say_depth(dish, depth_of(rack))


def dryer(via: str, rack: Any, seconds: float) -> None:
    while (dish := rack.get()) is not None:
        do(via, "dry", dish, seconds)
        rack.task_done()


def with_rack(via: str, washers: int, dryers: int, numbers: list[int], wash: float, dry: float, size: int) -> None:
    """join on the rack waits until every dish is dried; then each dryer is told that there is no more."""
    rack = rack_of(via, size)
    drying = [start(via, f"dryer {n + 1}", dryer, via, rack, dry) for n in range(dryers)]
    washing = [start(via, f"washer {n + 1}", washer, via, numbers[n::washers], rack, wash) for n in range(washers)]
    for hand in washing:
        hand.join()
    rack.join()
    for _ in drying:
        rack.put(None)
    for hand in drying:
        hand.join()


async def wash_async(dishes: list[int], rack: asyncio.Queue[int], seconds: float) -> None:
    for dish in dishes:
        with doing(STEPS["wash"], name=name_of(dish), dish=dish):
            await asyncio.sleep(scaled(seconds))
        await rack.put(dish)
        say_depth(dish, rack.qsize())


async def dry_async(rack: asyncio.Queue[int], seconds: float) -> None:
    while True:  # until it is cancelled
        dish = await rack.get()
        with doing(STEPS["dry"], name=name_of(dish), dish=dish):
            await asyncio.sleep(scaled(seconds))
        rack.task_done()


async def rack_async(washers: int, dryers: int, numbers: list[int], wash: float, dry: float, size: int) -> None:
    rack: asyncio.Queue[int] = asyncio.Queue(size)
    drying = [asyncio.create_task(dry_async(rack, dry), name=f"dryer {n + 1}") for n in range(dryers)]
    async with asyncio.TaskGroup() as washing:
        for n in range(washers):
            washing.create_task(wash_async(numbers[n::washers], rack, wash), name=f"washer {n + 1}")
    await rack.join()
    for task in drying:
        task.cancel()


def dishes(
    via: str,
    way: str,
    washers: int,
    dryers: int,
    dishes: int,
    wash: float,
    dry: float,
    put: float,
    queue_size: int,
    drunk_dryer: bool = False,
) -> None:
    """The same dishes in four ways: with a rack that evens out the speeds, by one alone, step by step for all, and in a line."""
    numbers, seconds, crews = list(range(1, dishes + 1)), {"wash": wash, "dry": dry, "put": put}, (washers, dryers, 1)
    if drunk_dryer:
        dishes_drunk(dryers, dishes, wash, dry)
    elif way == "rack" and via == "asyncio":
        asyncio.run(rack_async(washers, dryers, numbers, wash, dry, queue_size))
    elif way == "rack":
        with_rack(via, washers, dryers, numbers, wash, dry, queue_size)
    elif way == "alone":
        asyncio.run(alone_async(numbers, seconds)) if via == "asyncio" else alone(via, numbers, seconds)
    elif way == "batch":
        by = dict(zip(seconds, crews, strict=True))
        asyncio.run(batch_async(numbers, seconds, by)) if via == "asyncio" else batch(via, numbers, seconds, by)
    else:
        asyncio.run(line_async(numbers, seconds, queue_size)) if via == "asyncio" else line(
            via, numbers, seconds, queue_size
        )


def dishes_seen(seen: Seen) -> str:
    if seen.options.get("drunk_dryer"):
        return dishes_drunk_seen(seen)
    if seen.options["way"] != "rack":
        return ways_seen(seen)
    options, via = seen.options, seen.options["via"]
    washed, dried = seen.spans("washes"), seen.spans("dries")
    wanted = list(range(1, options["dishes"] + 1))
    for what, spans in (("washed", washed), ("dried", dried)):
        expect(sorted(one.event.data["dish"] for one in spans) == wanted, f"not every dish was {what} once")
    pids = {one.event.pid for one in washed + dried}
    expect((len(pids) > 1) == (via == "process"), f"{via}: {len(pids)} processes took part")
    clean = {one.event.data["dish"]: one.end for one in washed}
    expect(all(one.begin >= clean[one.event.data["dish"]] for one in dried), "a dish was dried before it was washed")
    took = max(one.end for one in dried) - min(one.begin for one in washed)
    put = {one.data["dish"]: one.at for one in seen.all("{name} is on")}
    most, room = max(depth or 0 for depth in seen.data("{name} is on", "depth")), options["queue_size"]
    expect(not room or most <= room, f"{most} dishes were on a rack for {room}")
    holds = f", which holds {room}," if room else ""
    for_room = sum(max(0.0, put[dish] - end) for dish, end in clean.items())
    return seen.timed(
        f"{len(wanted)} dishes were washed once and dried once in {took:.2f} s by {via}; the pile on the rack{holds} was {most} at most; "
        f"the washers waited {for_room:.2f} s for room, the dryers {idle(washed[0].begin, dried):.2f} s for dishes"
    )


def idle(began: float, dried: list[Span]) -> float:
    """Seconds that the dryers stood there before and between their dishes, added up."""
    waited = 0.0
    since: dict[tuple[int, str], float] = {}
    for one in dried:
        waited += one.begin - since.get(one.event.lane, began)
        since[one.event.lane] = one.end
    return waited


# -- the drunk dryer -----------------------------------------------------------------------------------------------------


def falls_over(rack: Any, notes: Any, seconds: float, drunk: bool) -> None:
    me = multiprocessing.current_process().name
    while (dish := rack.get()) is not None:
        if notes:
            notes.put(("took", me, dish))
        with doing(STEPS["dry"], name=name_of(dish), dish=dish):
            time.sleep(scaled(seconds / 2))
            if drunk and dish > 1:
                tell("{me} falls over with {name}", me=me, name=name_of(dish), dish=dish)
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(scaled(seconds / 2))
        tell("{name} is dry", name=name_of(dish), dish=dish, round="acknowledged" if notes else "plain")
        if notes:
            notes.put(("dried", me, dish))


def wash_up(dryers: int, dishes: int, wash: float, dry: float, notes: Any) -> tuple[Any, list[Process]]:
    rack: Any = SimpleQueue()
    drying = [Process(target=falls_over, args=(rack, notes, dry, n == 0), name=f"dryer {n + 1}") for n in range(dryers)]
    for hand in drying:
        hand.start()
    for dish in range(1, dishes + 1):
        time.sleep(scaled(wash))
        rack.put(dish)
    return rack, drying


def dishes_drunk(dryers: int, dishes: int, wash: float, dry: float) -> None:
    """What a dryer holds when it falls over is lost, unless somebody knows that it had it, and puts it back."""
    rack, drying = wash_up(dryers, dishes, wash, dry, None)
    leave(rack, drying)
    tell("plain queue: everybody has left")
    notes: Any = SimpleQueue()
    rack, drying = wash_up(dryers, dishes, wash, dry, notes)
    held: dict[str, int] = {}
    dried = 0
    while dried < dishes:
        fallen = [hand.name for hand in drying if not hand.is_alive() and hand.name in held]
        if not notes.empty():
            what, who, dish = notes.get()
            if what == "took":
                held[who] = dish
            else:
                del held[who]
                dried += 1
        elif fallen:
            lost = held.pop(fallen[0])
            tell("{name} of {who} goes back on the rack", name=name_of(lost), who=fallen[0], dish=lost)
            rack.put(lost)
        else:
            time.sleep(0.01)
    leave(rack, drying)


def leave(rack: Any, drying: list[Process]) -> None:
    for _ in drying:
        rack.put(None)
    for hand in drying:
        hand.join()


def dishes_drunk_seen(seen: Seen) -> str:
    wanted = set(range(1, seen.options["dishes"] + 1))
    dry = seen.all("{name} is dry")
    plain, acknowledged = (
        [one.data["dish"] for one in dry if one.data["round"] == name] for name in ("plain", "acknowledged")
    )
    fallen = seen.all("{me} falls over")
    expect(len(fallen) == 2, "the drunk dryer did not fall over in both rounds")
    lost = wanted - set(plain)
    expect(lost == {fallen[0].data["dish"]}, f"with a plain queue {lost or 'nothing'} was lost")
    expect(sorted(acknowledged) == sorted(wanted), "with acknowledgement not every dish was dried once")
    expect(seen.one("{name} of").data["dish"] == fallen[1].data["dish"], "another dish went back")
    return f"with a plain queue {name_of(lost.pop())} was lost with its dryer; with acknowledgement all {len(wanted)} were dried once"
