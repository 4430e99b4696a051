"""Sharing: memory that several processes see, and what keeps them from spoiling each other's work."""

from __future__ import annotations

import multiprocessing
import multiprocessing.dummy
import time
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import Array, Manager, Process, Value
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Seen, expect, most_at_once


def compute(number: Any, numbers: Any) -> None:
    tell("finds {numbers}", numbers=numbers[:])
    number.value = 3.1415927
    tell("writes {number} into the value", number=number.value)
    for index in range(len(numbers)):
        numbers[index] = -numbers[index]
    tell("now has {numbers}", numbers=numbers[:])


def say_what_there_is(number: Any, numbers: Any, plain: list[int]) -> None:
    tell("value: {number}", number=number.value)
    tell("array: {numbers}", numbers=numbers[:])
    tell("list:  {numbers}", numbers=plain)


def share_memory() -> None:
    """Value and Array lie in memory that both processes see; an ordinary list is copied."""
    number, numbers, plain = Value("d", 0.0), Array("i", range(10)), list(range(10))
    say_what_there_is(number, numbers, plain)
    for given in (numbers, plain):
        child = Process(target=compute, args=(number, given))
        child.start()
        child.join()
    say_what_there_is(number, numbers, plain)


def share_memory_seen(seen: Seen) -> str:
    values, arrays, lists = seen.data("value", "number"), seen.data("array", "numbers"), seen.data("list", "numbers")
    found, written = seen.all("finds", 2), seen.all("now has", 2)
    plain, negated = list(range(10)), [-n for n in range(10)]
    expect([one.data["numbers"] for one in found] == [plain] * 2, "a child did not find what the parent had made")
    expect([one.data["numbers"] for one in written] == [negated] * 2, "a child did not negate what it had")
    expect(len({one.pid for one in [*seen.all("array"), *written]}) == 3, "they were not three processes")
    expect(values == [0.0, 3.1415927], f"the value was {values}")
    expect(arrays == [plain, negated], f"the array was {arrays}")
    expect(lists == [plain] * 2, "a child has changed the parent's own list")
    return f"the parent sees what {written[0].pid} wrote into Value and Array, and nothing of what {written[1].pid} did to a list"


def write_proxies(words: Any, numbers: Any) -> None:
    words["name"], words["0.25"] = "many hands", None
    numbers.reverse()


def add_to(target: Any, times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        target.value += 1
    return (time.perf_counter() - began) / times * 1e6


def share_manager() -> None:
    """A manager is a process that holds the objects; others talk to it through proxies, which can be any object, and costs."""
    with Manager() as manager:
        words, numbers = manager.dict(), manager.list(range(10))
        child = Process(target=write_proxies, args=(words, numbers))
        child.start()
        child.join()
        tell("dict: {words}", words=dict(words))
        tell("list: {numbers}", numbers=list(numbers))
        tell(
            "+= takes {manager:.1f} us, in shared memory {memory:.2f} us",
            manager=add_to(manager.Value("i", 0), 1000),
            memory=add_to(Value("i", 0), 1000),
        )


def share_manager_seen(seen: Seen) -> str:
    found = {**seen.one("dict:").data, **seen.one("list:").data}
    expect(found["words"] == {"name": "many hands", "0.25": None}, f"the dict is {found['words']}")
    expect(found["numbers"] == list(range(9, -1, -1)), f"the list is {found['numbers']}")
    cost = seen.one("+= takes").data
    return seen.timed(
        f"the parent sees the child's changes; a manager took {cost['manager'] / cost['memory']:,.0f} times as long as shared memory"
    )


def kit_of(via: str) -> Any:
    return multiprocessing if via == "process" else multiprocessing.dummy  # the same names, with threads


def together(kit: Any, *works: tuple[Any, ...]) -> None:
    hands = [kit.Process(target=function, args=arguments) for function, *arguments in works]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()


def add_slowly(total: Any, times: int, lock: AbstractContextManager[Any]) -> None:
    for _ in range(times):
        with lock:
            before = total.value
            time.sleep(0.001)  # long enough for somebody to come in between
            total.value = before + 1


def guard_lock(kit: Any, broken: bool) -> None:
    """Lock: one at a time between reading and writing."""
    total, lock = kit.Value("i", 0), nullcontext() if broken else kit.Lock()
    together(kit, (add_slowly, total, 50, lock), (add_slowly, total, 50, lock))
    tell("lock: two have added 50 each: {total}", total=total.value)


def prepare(data: Any, ready: Any) -> None:
    time.sleep(scaled(0.5))
    data.value = 42
    ready.set()


def use(data: Any, ready: Any, broken: bool) -> None:
    if not broken:
        ready.wait()
    tell("event: used {data}", data=data.value)


def guard_event(kit: Any, broken: bool) -> None:
    """Event: wait until somebody says that it is ready."""
    data, ready = kit.Value("i", 0), kit.Event()
    together(kit, (prepare, data, ready), (use, data, ready, broken))


def cross(number: int, bridge: AbstractContextManager[Any]) -> None:
    with bridge, doing("semaphore: {number} is on the bridge", number=number):
        time.sleep(scaled(0.4))


def guard_semaphore(kit: Any, broken: bool) -> None:
    """Semaphore: so many at a time, and no more."""
    bridge = nullcontext() if broken else kit.Semaphore(2)
    together(kit, *((cross, number, bridge) for number in range(1, 6)))


def take(stock: Any, changed: Any, broken: bool) -> None:
    with changed:
        if not broken:
            changed.wait_for(lambda: stock.value > 0)
        stock.value -= 1
        tell("condition: took one, {left} left", left=stock.value)


def deliver(stock: Any, changed: Any) -> None:
    time.sleep(scaled(0.5))
    with changed:
        stock.value += 2
        changed.notify_all()


def guard_condition(kit: Any, broken: bool) -> None:
    """Condition: wait until something is true of what is shared."""
    stock, changed = kit.Value("i", 0), kit.Condition()
    together(kit, (take, stock, changed, broken), (take, stock, changed, broken), (deliver, stock, changed))


def share_locks(via: str, broken: bool = False) -> None:
    """Four ways to keep out of each other's way, with the same names for processes and for threads."""
    for guard in (guard_lock, guard_event, guard_semaphore, guard_condition):
        guard(kit_of(via), broken)


def share_locks_seen(seen: Seen) -> str:
    total, used = seen.one("lock").data["total"], seen.one("event").data["data"]
    at_once, left = most_at_once(seen.spans("semaphore")), seen.data("condition", "left")
    expect(total == 100, f"with the lock the total is {total}")
    expect(used == 42, f"before the event {used} was used")
    expect(at_once <= 2, f"{at_once} were on the bridge, whose semaphore lets 2")
    expect(left == [1, 0], f"the stock was {left}")
    return f"with Lock the total is {total}, with Event {used} was used, with Semaphore {at_once} at once, with Condition {left} left"


def share_locks_broken(via: str) -> None:
    """The same without the lock, without waiting for the event, the semaphore, the condition."""
    share_locks(via, broken=True)


def share_locks_broken_seen(seen: Seen) -> str:
    total, used = seen.one("lock").data["total"], seen.one("event").data["data"]
    at_once, left = most_at_once(seen.spans("semaphore")), seen.data("condition", "left")
    expect(total < 100, "no addition was lost")
    expect(used != 42, "it was ready by chance")
    expect(at_once > 2, f"there were {at_once} on the bridge")
    expect(min(left) < 0, "the stock was never negative")
    return f"{100 - total} of 100 additions were lost, {used} was used instead of 42, {at_once} were on a bridge for 2, {min(left)} were in stock"
