"""Threads in detail: how one is stopped, who waits for which lock, and which numbers it has."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from multiprocessing import Process
from queue import SimpleQueue
from typing import Any

from manyhands.tour.scene_tools import NotPossible, scaled, tell
from manyhands.tour.seen import Seen, expect


def count(stop: threading.Event) -> None:
    number = 0
    while not stop.wait(scaled(0.2)):  # it asks again and again, and waits in between
        number += 1
        tell("counts {number}", number=number)
    tell("was asked to stop, and does so")


def thread_stop() -> None:
    """Nobody can terminate a thread: it has to ask whether it should stop, and to return."""
    stop = threading.Event()
    thread = threading.Thread(target=count, args=(stop,), name="counter")
    for kind in (Process, threading.Thread):
        methods = [name for name in ("terminate", "kill", "stop", "cancel") if hasattr(kind, name)]
        tell("to end it a {kind} has {methods}", kind=kind.__name__, methods=methods)
    thread.start()
    thread.join(scaled(1))
    tell("join({limit}) has returned; the thread is alive: {alive}", limit=scaled(1), alive=thread.is_alive())
    stop.set()
    thread.join()
    tell("the event is set; the thread is alive: {alive}", alive=thread.is_alive())


def thread_stop_seen(seen: Seen) -> str:
    methods = {one.data["kind"]: one.data["methods"] for one in seen.all("to end it", 2)}
    expect(methods == {"Process": ["terminate", "kill"], "Thread": []}, f"the methods are {methods}")
    early, late = seen.one("join({limit})"), seen.one("the event is set")
    asked = seen.one("was asked")
    expect(early.data["alive"], "it ended before it was asked to")
    expect(not late.data["alive"] and early.at < asked.at < late.at, "it did not end when it was asked to")
    expect(all(one.at < asked.at for one in seen.all("counts")), "it went on counting")
    return f"it counted to {len(seen.all('counts'))}, had no method that ends it, and returned once the event was set"


def work_for_ever(tasks: SimpleQueue[str], waiting: threading.Event, stop: threading.Event) -> None:
    while not stop.is_set():
        tell("waits for a task")
        waiting.set()
        tasks.get()


def thread_stop_broken() -> None:
    """A thread that waits without a limit never asks; only as a daemon does it not keep the program from ending."""
    waiting, stop = threading.Event(), threading.Event()
    arguments = (SimpleQueue[str](), waiting, stop)
    thread = threading.Thread(target=work_for_ever, args=arguments, name="worker", daemon=True)
    thread.start()
    waiting.wait()
    stop.set()
    thread.join(scaled(1))
    tell("the event is set; the thread is alive: {alive}", alive=thread.is_alive())


def thread_stop_broken_seen(seen: Seen) -> str:
    waits, late = seen.one("waits"), seen.one("the event is set")
    expect(waits.at < late.at and late.data["alive"], "it has ended")
    return "the event was set, but the thread sat in get() and never looked; it ended with the program"


class Account:
    def __init__(self, name: str) -> None:
        self.name, self.balance, self.lock = name, 100, threading.Lock()


def move(source: Account, target: Account, order: list[Account], meanwhile: Callable[[], object]) -> None:
    first, second = order
    with first.lock:
        tell("has locked {first}, and wants {second}", first=first.name, second=second.name)
        meanwhile()
        with second.lock:
            source.balance -= 10
            target.balance += 10
            tell("has locked both, and moved 10 from {source} to {target}", source=source.name, target=target.name)


def lock_order() -> None:
    """Whoever needs several locks takes them in an order that is the same for all, such as that of their names."""
    accounts = [Account("Ada"), Account("Bob")]

    def move_thrice(source: Account, target: Account) -> None:
        for _ in range(3):
            move(source, target, sorted(accounts, key=lambda one: one.name), lambda: time.sleep(scaled(0.1)))
            time.sleep(scaled(0.1))  # the turn of the other

    threads = [
        threading.Thread(target=move_thrice, args=pair, name=f"{pair[0].name} to {pair[1].name}")
        for pair in (accounts, accounts[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell("Ada has {ada}, Bob has {bob}", ada=accounts[0].balance, bob=accounts[1].balance)


def lock_order_seen(seen: Seen) -> str:
    wanted, moved = seen.all("has locked {first}", 6), seen.all("has locked both", 6)
    expect({(one.data["first"], one.data["second"]) for one in wanted} == {("Ada", "Bob")}, "the order was another")
    expect(len({one.thread for one in moved}) == 2, "only one thread has moved anything")
    expect(seen.one("Ada has").data == {"ada": 100, "bob": 100}, "some money is gone, or new")
    return "both directions locked Ada before Bob: 6 moves by two threads, nobody was stuck, and the sum is the same"


def lock_order_broken() -> None:
    """Each locks what it takes from: one has Ada and wants Bob, the other has Bob and wants Ada. Nobody ever gives way."""
    ada, bob = Account("Ada"), Account("Bob")
    both = threading.Barrier(3)  # both have their first lock; without it, that happens one day
    threads = [
        threading.Thread(
            target=move, args=(*pair, pair, both.wait), name=f"{pair[0].name} to {pair[1].name}", daemon=True
        )
        for pair in ([ada, bob], [bob, ada])
    ]
    for thread in threads:
        thread.start()
    both.wait()
    for thread in threads:
        thread.join(scaled(1))
    tell("still waiting are {stuck} threads", stuck=sum(thread.is_alive() for thread in threads))


def lock_order_broken_seen(seen: Seen) -> str:
    wanted = {(one.data["first"], one.data["second"]) for one in seen.all("has locked {first}", 2)}
    expect(wanted == {("Ada", "Bob"), ("Bob", "Ada")}, f"they locked {wanted}")
    expect(not seen.all("has locked both"), "one of them got both locks")
    expect(seen.one("still waiting").data["stuck"] == 2, "they were not stuck")
    return "a deadlock: each held what the other wanted; both would wait for ever, if they did not end with the program"


def print_page() -> None:
    tell("has the lock, prints, and fails")
    raise RuntimeError("paper jam")


def use_printer(lock: threading.Lock, safe: bool) -> None:
    if safe:
        with lock:
            print_page()
    else:
        lock.acquire()
        print_page()
        lock.release()  # after an error nobody gets here


def fail(lock: threading.Lock, safe: bool) -> None:
    try:
        use_printer(lock, safe)
    except RuntimeError as error:
        tell("was told: {error}", error=str(error))


def lock_release(safe: bool = True) -> None:
    """`with lock` lets go of the lock however the block ends; so the next one gets it."""
    lock = threading.Lock()
    first = threading.Thread(target=fail, args=(lock, safe), name="first")
    first.start()
    first.join()
    got = lock.acquire(timeout=scaled(1))
    tell("the next one gets the lock: {got}", got=got)


def lock_release_seen(seen: Seen) -> str:
    failed, end = seen.one("was told"), seen.one("the next one gets")
    expect(failed.at < end.at, "it did not fail before")
    expect(end.data["got"], "the lock stayed locked")
    return "the first failed while it held the lock, and `with` let go of it: the next one got it"


def lock_release_broken() -> None:
    """acquire, then an error, and release is never reached: whoever comes next waits for a thread that is gone."""
    lock_release(safe=False)


def lock_release_broken_seen(seen: Seen) -> str:
    failed, end = seen.one("was told"), seen.one("the next one gets")
    expect(seen.one("has the lock").thread == failed.thread == "first", "another thread had it")
    expect(not end.data["got"], "the lock was released")
    return "the lock belongs to a thread that has ended: without a limit, the next one would wait for ever"


def try_from_elsewhere(lock: threading.Lock, step: str) -> None:
    got = lock.acquire(timeout=scaled(0.3))
    tell("{step}: I get the RLock: {got}", step=step, got=got)
    if got:
        lock.release()


def lock_again() -> None:
    """An RLock knows who has it, and lets that thread take it again; a Lock does not, and the thread waits for itself."""
    lock = threading.Lock()
    with lock:
        tell("I have the Lock; I get it again: {again}", again=lock.acquire(timeout=scaled(0.3)))
    relock: Any = threading.RLock()
    with relock:
        again = relock.acquire(timeout=scaled(0.3))
        tell("I have the RLock; I get it again: {again}", again=again)
        if again:
            relock.release()
        other = threading.Thread(target=try_from_elsewhere, args=(relock, "released once"), name="other")
        other.start()
        other.join()
    other = threading.Thread(target=try_from_elsewhere, args=(relock, "released twice"), name="other")
    other.start()
    other.join()


def lock_again_seen(seen: Seen) -> str:
    expect(not seen.one("I have the Lock").data["again"], "a Lock was taken twice")
    expect(seen.one("I have the RLock").data["again"], "an RLock was not taken twice")
    others = seen.data("{step}: I get", "got")
    expect(others == [False, True], f"another thread got the RLock: {others}")
    return "one thread got the RLock twice, and the Lock only once; another got the RLock once it was released twice, too"


def show_numbers(alive: threading.Barrier) -> None:
    alive.wait()
    tell("ident {ident:x}, native id {native}", ident=threading.get_ident(), native=threading.get_native_id())
    alive.wait()


def one_after_another(count: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for _ in range(count):
        thread = threading.Thread(target=lambda: found.append((threading.get_ident(), threading.get_native_id())))
        thread.start()
        thread.join()
    return found


def thread_ids(workers: int) -> None:
    """The native id is the kernel's number of a thread, as ps -L and top -H show it; ident is Python's, and soon given to another."""
    if not os.path.isdir("/proc/self/task"):
        raise NotPossible("only Linux lists the threads of a process in /proc")
    alive = threading.Barrier(workers + 1)
    threads = [threading.Thread(target=show_numbers, args=(alive,), name=f"thread {n + 1}") for n in range(workers)]
    for thread in threads:
        thread.start()
    alive.wait()  # now all of them exist
    tell("/proc/self/task: {tasks}", tasks=sorted(map(int, os.listdir("/proc/self/task"))))
    alive.wait()
    for thread in threads:
        thread.join()
    idents, natives = (len(set(numbers)) for numbers in zip(*one_after_another(100), strict=True))
    tell("100 one by one: {idents} idents, {natives} native ids", idents=idents, natives=natives)


def thread_ids_seen(seen: Seen) -> str:
    told, tasks = seen.all("ident", seen.options["workers"]), seen.one("/proc/self/task")
    natives = {one.data["native"] for one in told}
    expect(
        set(tasks.data["tasks"]) == natives | {tasks.pid}, f"the kernel has {tasks.data['tasks']}, the threads {natives}"
    )
    expect(len({one.data["ident"] for one in told}) == len(told), "two threads had the same ident at the same time")
    later = seen.one("100 one by one").data
    expect(later["idents"] < later["natives"], f"of 100 threads {later['idents']} had an ident of their own")
    return (
        f"{len(told)} native ids and the pid {tasks.pid}, which is the main thread's, are what the kernel lists; "
        f"100 threads one after another shared {later['idents']} idents, and had {later['natives']} native ids"
    )
