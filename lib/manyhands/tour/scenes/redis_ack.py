"""More than a queue: work that is acknowledged, and a rack with so many places. Redis moves a dish from list to list in one step."""

from __future__ import annotations

import random
import time
from collections import Counter
from multiprocessing import Event, Pipe, Process
from multiprocessing.connection import Connection
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.scenes.servers import client, redis_server
from manyhands.tour.seen import Seen, expect

STEPS = ("it waits", "it took a dish", "it dries it", "it is dry")


def careful_dryer(port: int, mine: str, telling: Connection) -> None:
    """pending -> processing -> done; at each step there is a moment in which it can be killed."""
    rack = client(port)
    while True:
        telling.send(STEPS[0])
        dish = rack.blmove("pending", mine, 0)
        telling.send(STEPS[1])
        time.sleep(scaled(0.1))
        telling.send(STEPS[2])
        with doing("dries dish {dish}", dish=dish):
            time.sleep(scaled(0.4))
        telling.send(STEPS[3])
        time.sleep(scaled(0.1))
        rack.lmove(mine, "done")


def hire(port: int, number: int) -> tuple[Process, Connection, str]:
    hearing, telling = Pipe(duplex=False)
    mine = f"processing:{number}"
    dryer = Process(target=careful_dryer, args=(port, mine, telling), name=f"dryer {number}")
    dryer.start()
    telling.close()
    return dryer, hearing, mine


def kill_when(dryer: Process, hearing: Connection, step: str, turn: int) -> None:
    """With -9, at a random moment after it has said so for the first or second time."""
    for _ in range(turn):
        while hearing.recv() != step:
            pass
    time.sleep(random.uniform(0, scaled(0.1)))  # noqa: S311 - no secret
    dryer.kill()
    dryer.join()


def inspect(port: int, lists: list[str], enough: Any) -> None:
    """Look at all lists in one moment, again and again: every dish that was ever there is in exactly one."""
    rack, looks, wrong = client(port), 0, 0
    known: set[str] = set()
    while not enough.is_set():
        look = rack.pipeline(transaction=True)
        for name in lists:
            look.lrange(name, 0, -1)
        found = Counter(dish for dishes in look.execute() for dish in dishes)
        wrong += max(found.values(), default=1) > 1 or not known <= set(found)
        known |= set(found)
        looks += 1
        time.sleep(0.001)
    tell("looked {looks} times, and found {wrong} mistakes", looks=looks, wrong=wrong)


def redis_ack(server: str, dishes: int) -> None:
    """What a dryer has taken is on a list of its own until it is done: if it falls over, somebody puts its dish back."""
    with redis_server(server) as port:
        rack, enough = client(port), Event()
        lists = ["pending", "done", *(f"processing:{number + 1}" for number in range(len(STEPS) + 1))]
        inspector = Process(target=inspect, args=(port, lists, enough), name="inspector")
        inspector.start()
        for number, step in enumerate(STEPS, 1):
            dryer, hearing, mine = hire(port, number)
            kill_when(dryer, hearing, step, turn=1 if number == 1 else 2)
            back = rack.lmove(mine, "pending", "RIGHT", "LEFT")
            tell("{dryer} is killed: {step}; back goes {back}", dryer=dryer.name, step=step, back=back)
            if number == 1:  # it has waited for the first dishes
                rack.rpush("pending", *range(1, dishes + 1))
        dryer, hearing, _ = hire(port, len(STEPS) + 1)
        while rack.llen("done") < dishes:
            hearing.recv()  # something has happened
        dryer.terminate()
        dryer.join()
        enough.set()
        inspector.join()
        done, left = rack.lrange("done", 0, -1), rack.keys("p*")
        tell("done are {count} dishes; elsewhere: {left}", count=len(done), done=done, left=left)


def redis_ack_seen(seen: Seen) -> str:
    wanted, end, looked = seen.options["dishes"], seen.one("done are").data, seen.one("looked").data
    expect(seen.data("{dryer} is killed", "step") == list(STEPS), "not every step had its death")
    expect(sorted(map(int, end["done"])) == list(range(1, wanted + 1)), f"done are {end['done']}")
    expect(end["left"] == [], f"something is still in {end['left']}")
    expect(looked["wrong"] == 0 < looked["looks"], f"{looked['wrong']} of {looked['looks']} looks found it wrong")
    back = [one for one in seen.data("{dryer} is killed", "back") if one is not None]
    return (
        f"{len(STEPS)} dryers were killed, {len(back)} dishes went back, and all {wanted} are done once; "
        f"in each of {looked['looks']:,} looks every dish was in exactly one list"
    )


def listening_dryer(port: int, telling: Connection) -> None:
    with client(port).pubsub() as calls:
        calls.subscribe("dishes")
        for call in calls.listen():
            if call["type"] == "message":
                with doing("dries dish {dish}", dish=call["data"]):
                    time.sleep(scaled(0.1))
            telling.send(call["data"])


def call_out(port: int, dishes: range) -> None:
    for dish in dishes:
        heard = client(port).publish("dishes", dish)
        tell("dish {dish} is called out, and {heard} listen", dish=dish, heard=heard)


def redis_ack_broken(server: str, dishes: int) -> None:
    """Fire and forget: a dish is called out to whoever listens, and nobody asks what has become of it."""
    third = dishes // 3
    with redis_server(server) as port:
        for begin in (1, 1 + 2 * third):
            hearing, telling = Pipe(duplex=False)
            dryer = Process(target=listening_dryer, args=(port, telling))
            dryer.start()
            hearing.recv()  # it listens
            call_out(port, range(begin, begin + third))
            for _ in range(third):
                hearing.recv()  # it has dried one
            dryer.kill()
            dryer.join()
            if begin == 1:
                call_out(port, range(1 + third, 1 + 2 * third))


def redis_ack_broken_seen(seen: Seen) -> str:
    called, dried = seen.data("dish {dish} is called", "dish"), [one.event.data["dish"] for one in seen.spans("dries")]
    lost = sorted(set(called) - set(map(int, dried)))
    expect(lost, "no dish was lost")
    expect(
        lost == [one.data["dish"] for one in seen.all("dish {dish} is called") if one.data["heard"] == 0],
        "others were lost",
    )
    return f"of {len(called)} dishes {len(lost)} were lost ({', '.join(map(str, lost))}): called out while nobody listened, and nobody knows"


def quick_washer(port: int, dishes: int, *, places: bool) -> None:
    rack = client(port)
    for dish in range(1, dishes + 1):
        time.sleep(scaled(0.05))
        if places:
            with doing("waits for a place"):
                rack.blpop("places")
        tell(
            "dish {dish} is on the rack: {dots}", dish=dish, dots="●" * (depth := rack.rpush("dishes", dish)), depth=depth
        )
    rack.rpush("dishes", "quit")


def slow_dryer(port: int) -> None:
    rack = client(port)
    while (dish := rack.blpop("dishes")[1]) != "quit":
        rack.rpush("places", "free")
        with doing("dries dish {dish}", dish=dish):
            time.sleep(scaled(0.3))


def wash_and_dry(server: str, dishes: int, room: int, *, places: bool) -> None:
    with redis_server(server) as port:
        client(port).rpush("places", *["free"] * room)
        drying = Process(target=slow_dryer, args=(port,), name="dryer")
        washing = Process(target=quick_washer, args=(port, dishes), kwargs={"places": places}, name="washer")
        for program in (drying, washing):
            program.start()
        for program in (washing, drying):
            program.join()


def redis_pressure(server: str, dishes: int, room: int) -> None:
    """A list of free places: the washer takes one before it puts a dish down, the dryer gives it back."""
    wash_and_dry(server, dishes, room, places=True)


def dried_in_order(seen: Seen) -> list[int]:
    found = [int(one.event.data["dish"]) for one in seen.spans("dries")]
    expect(found == list(range(1, seen.options["dishes"] + 1)), f"dried were {found}")
    return found


def redis_pressure_seen(seen: Seen) -> str:
    dried, most = dried_in_order(seen), max(seen.data("dish {dish} is on", "depth"))
    expect(most <= seen.options["room"], f"{most} dishes were on a rack for {seen.options['room']}")
    waited = sum(one.took for one in seen.spans("waits", len(dried)))
    return (
        f"{len(dried)} dishes, never more than {most} on the rack: the quick washer has waited {waited:.2f} s for places"
    )


def redis_pressure_broken(server: str, dishes: int, room: int) -> None:
    """Nobody tells the washer that the rack is full: it grows as long as there are dishes, and so does Redis."""
    wash_and_dry(server, dishes, room, places=False)


def redis_pressure_broken_seen(seen: Seen) -> str:
    dried, most = dried_in_order(seen), max(seen.data("dish {dish} is on", "depth"))
    expect(most > seen.options["room"], f"there were never more than {most} dishes on the rack")
    return f"of {len(dried)} dishes {most} stood on a rack that was meant for {seen.options['room']}"
