"""Washing up without a rack to share: one alone, one step after the other for all dishes, and a line of three.

Apart from `dishes`, the way with a rack, for its length.
"""

from __future__ import annotations

import asyncio
from statistics import fmean
from typing import Any

from manyhands.tour.scene_tools import doing, scaled
from manyhands.tour.scenes.kitchen import STEPS, WHO, do, name_of, rack_of, start
from manyhands.tour.seen import Seen, Span, expect, most_at_once

Times = dict[str, float]
"""Seconds for each step."""


def every_step(via: str, dishes: list[int], seconds: Times) -> None:
    """One dish after the other, from dirty to the cupboard."""
    for dish in dishes:
        for step, each in seconds.items():
            do(via, step, dish, each)


def alone(via: str, dishes: list[int], seconds: Times) -> None:
    """One worker does everything."""
    start(via, "worker", every_step, via, dishes, seconds).join()


def one_step(via: str, step: str, dishes: list[int], seconds: float) -> None:
    """The same step with some dishes."""
    for dish in dishes:
        do(via, step, dish, seconds)


def batch(via: str, dishes: list[int], seconds: Times, crews: dict[str, int]) -> None:
    """All are washed, then all are dried, then all are put away."""
    for step, each in seconds.items():
        crew = crews[step]
        hands = [start(via, f"{WHO[step]} {n + 1}", one_step, via, step, dishes[n::crew], each) for n in range(crew)]
        for hand in hands:
            hand.join()  # nobody dries before the last dish is washed


def stand(via: str, step: str, seconds: float, coming: Any, going: Any) -> None:
    """One place in the line: take from the left, do one step, hand on to the right."""
    while (dish := coming.get()) is not None:
        do(via, step, dish, seconds)
        going.put(dish)
    going.put(None)


def line(via: str, dishes: list[int], seconds: Times, size: int) -> None:
    """Three stand in a line; between two of them there is room for ``size`` dishes, or for any number if that is 0."""
    places = [rack_of(via, 0), rack_of(via, size), rack_of(via, size), rack_of(via, 0)]
    hands = [
        start(via, WHO[step], stand, via, step, each, places[n], places[n + 1])
        for n, (step, each) in enumerate(seconds.items())
    ]
    for dish in [*dishes, None]:
        places[0].put(dish)
    while places[-1].get() is not None:
        pass
    for hand in hands:
        hand.join()


# -- the same by tasks of asyncio ----------------------------------------------------------------------------------------


async def do_async(step: str, dish: int, seconds: float) -> None:
    """One step with one dish."""
    with doing(STEPS[step], name=name_of(dish), dish=dish):
        await asyncio.sleep(scaled(seconds))


async def every_step_async(dishes: list[int], seconds: Times) -> None:
    """One dish after the other, from dirty to the cupboard."""
    for dish in dishes:
        for step, each in seconds.items():
            await do_async(step, dish, each)


async def alone_async(dishes: list[int], seconds: Times) -> None:
    """One worker does everything."""
    await asyncio.create_task(every_step_async(dishes, seconds), name="worker")


async def one_step_async(step: str, dishes: list[int], seconds: float) -> None:
    """The same step with some dishes."""
    for dish in dishes:
        await do_async(step, dish, seconds)


async def batch_async(dishes: list[int], seconds: Times, crews: dict[str, int]) -> None:
    """All are washed, then all are dried, then all are put away."""
    for step, each in seconds.items():
        async with asyncio.TaskGroup() as crew:  # left when all of them are done
            for n in range(crews[step]):
                crew.create_task(one_step_async(step, dishes[n :: crews[step]], each), name=f"{WHO[step]} {n + 1}")


Place = asyncio.Queue[int | None]


async def stand_async(step: str, seconds: float, coming: Place, going: Place) -> None:
    """One place in the line: take from the left, do one step, hand on to the right."""
    while (dish := await coming.get()) is not None:
        await do_async(step, dish, seconds)
        await going.put(dish)
    await going.put(None)


async def line_async(dishes: list[int], seconds: Times, size: int) -> None:
    """Three stand in a line; between two of them there is room for ``size`` dishes, or for any number if that is 0."""
    places: list[Place] = [asyncio.Queue(), asyncio.Queue(size), asyncio.Queue(size), asyncio.Queue()]
    for dish in [*dishes, None]:
        places[0].put_nowait(dish)
    async with asyncio.TaskGroup() as hands:
        for n, (step, each) in enumerate(seconds.items()):
            hands.create_task(stand_async(step, each, places[n], places[n + 1]), name=WHO[step])


# -- what is to be seen --------------------------------------------------------------------------------------------------


def ways_seen(seen: Seen) -> str:
    """The verdict on these ways."""
    steps = {step: seen.spans(text.partition(" ")[0]) for step, text in STEPS.items()}
    wanted = list(range(1, seen.options["dishes"] + 1))
    for step, spans in steps.items():
        expect(sorted(one.event.data["dish"] for one in spans) == wanted, f"{step}: not every dish, or not once")
    for before, after in (("wash", "dry"), ("dry", "put")):
        ends = {one.event.data["dish"]: one.end for one in steps[before]}
        expect(all(one.begin >= ends[one.event.data["dish"]] for one in steps[after]), f"{after} came before {before}")
    everything = sorted((one for spans in steps.values() for one in spans), key=lambda span: span.begin)
    way = {"alone": alone_seen, "batch": batch_seen, "line": line_seen}[seen.options["way"]]
    found, began = way(seen, steps, everything), everything[0].begin
    ready = [one.end - began for one in steps["put"]]
    return seen.timed(
        f"{len(wanted)} dishes, {found}; the first was put away after {min(ready):.2f} s, the last after {max(ready):.2f} s"
    )


def alone_seen(_seen: Seen, _steps: dict[str, list[Span]], everything: list[Span]) -> str:
    """One worker, one thing at a time."""
    lanes = {one.event.lane for one in everything}
    expect(len(lanes) == 1, f"{len(lanes)} were at work")
    expect(most_at_once(everything) == 1, f"{most_at_once(everything)} things were done at once")
    return f"all by {everything[0].event.actor}, who never did two things at once"


def batch_seen(seen: Seen, steps: dict[str, list[Span]], everything: list[Span]) -> str:
    """No step begins before the one before it is done with all dishes."""
    for before, after in (("wash", "dry"), ("dry", "put")):
        late = max(one.end for one in steps[before])
        expect(min(one.begin for one in steps[after]) >= late, f"{after} began before {before} was done with all dishes")
    pids = {one.event.pid for one in everything}
    expect((len(pids) > 1) == (seen.options["via"] == "process"), f"{len(pids)} processes took part")
    return "all washed, then all dried, then all put away"


def line_seen(seen: Seen, steps: dict[str, list[Span]], everything: list[Span]) -> str:
    """Each of three does one step with every dish, in their order; the slowest of them says how often a dish comes out."""
    for step, spans in steps.items():
        expect({one.event.actor for one in spans} == {WHO[step]}, f"{step} was done by others")
        order = [one.event.data["dish"] for one in spans]
        expect(order == sorted(order), f"{step}: the order was {order}")
    typical = {step: fmean(one.took for one in spans) for step, spans in steps.items()}
    slowest = max(typical, key=lambda step: typical[step])
    out = [one.end for one in steps["put"]]
    text = f"by three in a line, of whom the {WHO[slowest]} is the slowest with {typical[slowest]:.2f} s a dish"
    several = sorted(seen.options[step] for step in STEPS)[1] > 0  # or there is nothing to do at the same time
    if len(out) < 3 or not several:
        return text
    expect(most_at_once(everything) > 1, "no two of them worked at the same time")
    pace, others = (out[-1] - out[0]) / (len(out) - 1), sum(typical.values()) - typical[slowest]
    expect(abs(pace - typical[slowest]) < others / 2, f"a dish came out every {pace:.2f} s, {text}")
    return f"{text}, and every {pace:.2f} s one comes out"
