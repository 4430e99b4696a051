"""Washing up through Redis: washer and dryer are two programs that know nothing of each other but the address of a list."""

from __future__ import annotations

import time
from multiprocessing import Barrier, Process
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.scenes.servers import client, redis_server
from manyhands.tour.seen import Seen, expect

DISHES = ("salad", "bread", "entree", "dessert")


def washer(port: int) -> None:
    rack = client(port)
    for dish in DISHES:
        with doing("washes the {dish}", dish=dish):
            time.sleep(scaled(0.5))
        rack.rpush("dishes", dish)
    rack.rpush("dishes", "quit")
    tell("has washed everything, and says quit")


def dryer(port: int) -> None:
    rack = client(port)
    tell("waits for dishes")
    while (dish := rack.blpop("dishes")[1]) != "quit":  # blpop waits until there is one
        with doing("dries the {dish}", dish=dish):
            time.sleep(scaled(0.8))
    tell("was told to quit")


def redis_dishes(server: str, first: str) -> None:
    """The list is kept by the server: who comes first does not matter, and nobody has to know who else is there."""
    with redis_server(server) as port:
        washing = Process(target=washer, args=(port,), name="washer")
        drying = Process(target=dryer, args=(port,), name="dryer")
        early, late = (drying, washing) if first == "dryer" else (washing, drying)
        early.start()
        time.sleep(scaled(1))
        late.start()
        for program in (washing, drying):
            program.join()
        codes, left = [washing.exitcode, drying.exitcode], client(port).keys()
        tell("both have ended with {codes}; left in Redis: {left}", codes=codes, left=left)


def redis_dishes_seen(seen: Seen) -> str:
    washed, dried, waits = seen.spans("washes"), seen.spans("dries"), seen.one("waits for dishes")
    for what, spans in (("washed", washed), ("dried", dried)):
        found = [one.event.data["dish"] for one in spans]
        expect(found == list(DISHES), f"{what} were {found}")
    expect(len({one.event.pid for one in washed + dried}) == 2, "they were not two programs")
    expect(seen.one("was told to quit").at > dried[-1].end, "the dryer has left too early")
    expect(
        seen.one("both have ended").data == {"codes": [0, 0], "left": []}, "they did not end well, or something is left"
    )
    dryer_first = seen.options["first"] == "dryer"
    expect((waits.at < washed[0].begin) == dryer_first, f"the {seen.options['first']} did not begin")
    begun = "stood there first, and waited" if dryer_first else "came later, and found dishes on the rack"
    return f"{len(DISHES)} dishes went through Redis from {washed[0].event.pid} to {dried[0].event.pid}, which {begun}; quit ended it"


def patient_dryer(port: int, idle: float, together: Any) -> None:
    rack = client(port)
    together.wait()
    since = time.monotonic()
    while (found := rack.blpop("dishes", timeout=scaled(idle))) is not None:
        if found[1] == "quit":
            return tell("reads quit, and leaves")
        with doing("dries the {dish}", dish=found[1]):
            time.sleep(scaled(0.8))
        since = time.monotonic()
    return tell("has had nothing for {waited:.2f} s, and leaves", waited=time.monotonic() - since)


def redis_idle(server: str, dryers: int, idle: float) -> None:
    """One quit is read by one dryer only; the others leave when nothing has come for a while."""
    with redis_server(server) as port:
        together = Barrier(dryers + 1)
        drying = [
            Process(target=patient_dryer, args=(port, idle, together), name=f"dryer {n + 1}") for n in range(dryers)
        ]
        for program in drying:
            program.start()
        together.wait()
        washer(port)
        for program in drying:
            program.join()


def redis_idle_seen(seen: Seen) -> str:
    dryers = seen.options["dryers"]
    dried = sorted(one.event.data["dish"] for one in seen.spans("dries"))
    expect(dried == sorted(DISHES), f"dried were {dried}")
    quit_, tired = seen.one("reads quit"), seen.all("has had nothing", dryers - 1)
    expect(all(one.at > quit_.at for one in tired), "the one that read quit did not leave first")
    expect(len({one.pid for one in [quit_, *tired]}) == dryers, "a dryer has left twice")
    waits = " and ".join(f"{one.data['waited']:.1f} s" for one in tired)
    return f"{quit_.process} read quit and left first; the others left after {waits} without a dish"
