"""Threads: several things at once in one process, which share everything, whether they want to or not."""

from __future__ import annotations

import sys
import threading
import time
from multiprocessing import Process
from typing import Any

from manyhands.tour.scene_tools import scaled, tell
from manyhands.tour.seen import Seen, expect


def all_of(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def say_who() -> None:
    tell("I am {name}", name=threading.current_thread().name)


def thread_names(workers: int) -> None:
    """A Thread runs a function beside the others; join waits for its end."""
    say_who()
    all_of(*(threading.Thread(target=say_who, name=f"thread {n + 1}") for n in range(workers)))


def thread_names_seen(seen: Seen) -> str:
    told, workers = seen.all("I am"), seen.options["workers"]
    names = {one.data["name"] for one in told}
    expect(len(names) == workers + 1, f"{len(names)} have spoken, not {workers + 1}")
    expect(all(one.thread == one.data["name"] for one in told), "a thread has another name")
    expect(len({one.pid for one in told}) == 1, "the threads were in several processes")
    return f"{len(names)} threads have spoken, all in process {told[0].pid}"


class Account:
    balance = 0


def use_account(account: Account, amount: int, lock: Any) -> None:
    for _ in range(100_000):
        with lock:
            account.balance += amount


def thread_bank() -> None:
    """With the lock, nobody comes in between reading and writing."""
    account, lock = Account(), threading.Lock()
    all_of(*(threading.Thread(target=use_account, args=(account, amount, lock)) for amount in (1, -1)))
    tell("after 100,000 x +1 and 100,000 x -1: {balance}", balance=account.balance)


def thread_bank_seen(seen: Seen) -> str:
    balance = seen.one("after").data["balance"]
    expect(balance == 0, f"the balance is {balance}")
    return "200,000 changes by two threads, and the balance is 0"


def use_carelessly(account: Account, amount: int) -> None:
    for step in range(100_000):
        before = account.balance
        if step % 1000 == 0:
            time.sleep(0)  # let the other thread in, as the interpreter may do at any time
        account.balance = before + amount


def thread_bank_broken() -> None:
    """Without the lock: what the other has written in between is overwritten."""
    account = Account()
    sys.setswitchinterval(1e-5)
    all_of(*(threading.Thread(target=use_carelessly, args=(account, amount)) for amount in (1, -1)))
    tell("after 100,000 x +1 and 100,000 x -1: {balance}", balance=account.balance)


def thread_bank_broken_seen(seen: Seen) -> str:
    balance = seen.one("after").data["balance"]
    expect(balance != 0, "by chance no change was lost")
    return f"the balance is {balance:,} and should be 0: changes were lost"


def thread_sum() -> None:
    """Ten threads add their number to a total that a lock guards."""
    lock, total = threading.Lock(), [0]

    def add(number: int) -> None:
        with lock:
            total[0] += number
            tell("adds {number}: {total}", number=number, total=total[0])

    all_of(*(threading.Thread(target=add, args=(number,)) for number in range(1, 11)))
    tell("the total is {total}", total=total[0])


def thread_sum_seen(seen: Seen) -> str:
    added, total = seen.data("adds", "number"), seen.one("the total").data["total"]
    expect(sorted(added) == list(range(1, 11)), f"added were {added}")
    expect(total == 55, f"the total is {total}")
    return f"ten threads have added {', '.join(map(str, added))}, which makes {total}"


class Greeter(threading.Thread):
    def __init__(self, number: int) -> None:
        super().__init__(name=f"greeter {number}")
        self.number = number

    def run(self) -> None:
        tell("hello from number {number}", number=self.number)


def thread_class() -> None:
    """A subclass with a run of its own: start calls it in the new thread."""
    all_of(*(Greeter(number) for number in (1, 2, 3)))


def thread_class_seen(seen: Seen) -> str:
    told = seen.all("hello")
    expect(sorted(one.data["number"] for one in told) == [1, 2, 3], "not every one has greeted once")
    expect(all(one.thread == f"greeter {one.data['number']}" for one in told), "run was called in another thread")
    return "three threads of our own class have greeted, each from its own run"


STUDENTS = ("Ada", "Grace", "Edsger")
everybody = threading.Barrier(len(STUDENTS))


def by_argument(student: str) -> None:
    everybody.wait()
    tell("{way}: I am {me}, and see {seen}", way="argument", me=threading.current_thread().name, seen=student)


by_thread: dict[int, str] = {}


def by_dict(student: str) -> None:
    by_thread[threading.get_ident()] = student
    everybody.wait()  # all have set theirs
    seen = by_thread.pop(threading.get_ident())
    tell("{way}: I am {me}, and see {seen}", way="dict", me=threading.current_thread().name, seen=seen)


school = threading.local()


def by_local(student: str) -> None:
    tell("local() is empty in a new thread: {empty}", empty=not hasattr(school, "student"))
    school.student = student
    everybody.wait()
    tell("{way}: I am {me}, and see {seen}", way="local()", me=threading.current_thread().name, seen=school.student)


def thread_local() -> None:
    """Pass it on as an argument, keep it in a dict by thread, or let local() do that: an attribute is another one in every thread."""
    for way in (by_argument, by_dict, by_local):
        all_of(*(threading.Thread(target=way, args=(name,), name=name) for name in STUDENTS))


def thread_local_seen(seen: Seen) -> str:
    told = seen.all("{way}")
    ways = list(dict.fromkeys(one.data["way"] for one in told))
    expect(ways == ["argument", "dict", "local()"], f"the ways were {ways}")
    expect(seen.data("local() is", "empty") == [True] * 3, "a new thread has found somebody in local()")
    for way in ways:
        found = {one.thread: one.data["seen"] for one in told if one.data["way"] == way}
        expect(found == {name: name for name in STUDENTS}, f"by {way} a thread sees another's student: {found}")
    return f"by {', by '.join(ways)}: each of three threads sees its own student; local() alone needs no argument and no tidying up"


class School:
    student = "nobody"


def thread_local_broken() -> None:
    """One name for all threads: each sees whoever was set last."""
    shared = School()

    def study(student: str) -> None:
        shared.student = student
        tell("sets {student}", student=student)
        everybody.wait()
        tell("I am {me}, and see {seen}", me=threading.current_thread().name, seen=shared.student)

    all_of(*(threading.Thread(target=study, args=(name,), name=name) for name in STUDENTS))


def thread_local_broken_seen(seen: Seen) -> str:
    found = {one.thread: one.data["seen"] for one in seen.all("I am", 3)}
    wrong = [name for name, student in found.items() if name != student]
    expect(len(set(found.values())) == 1 and len(wrong) == 2, f"they saw {found}")
    return f"all three see {set(found.values()).pop()}, who was set last; {' and '.join(wrong)} have lost theirs"


def hold(lock: Any) -> None:
    with lock:
        time.sleep(scaled(1))


def ask(lock: Any) -> None:
    tell("the child gets the lock: {got}", got=lock.acquire(timeout=scaled(2)))


def thread_fork_broken() -> None:
    """fork copies the lock as it is, held, but not the thread that holds it: in the child nobody will ever release it."""
    import multiprocessing
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of exactly this
    lock = threading.Lock()
    holder = threading.Thread(target=hold, args=(lock,))
    holder.start()
    child = multiprocessing.get_context("fork").Process(target=ask, args=(lock,))
    child.start()
    holder.join()
    tell("the parent gets the lock: {got}", got=lock.acquire(timeout=scaled(2)))
    child.join()


def thread_fork_broken_seen(seen: Seen) -> str:
    expect(seen.one("the parent").data["got"], "the parent did not get the lock")
    expect(not seen.one("the child").data["got"], "the child got the lock")
    return "the thread let go of the lock, and the parent got it; its copy in the child stayed locked for ever"


def greet_from_process() -> None:
    tell("the child has {threads} thread", threads=threading.active_count())


def thread_fork() -> None:
    """Start processes before threads, or by spawn, which begins anew and copies no lock."""
    import multiprocessing

    lock = threading.Lock()
    holder = threading.Thread(target=hold, args=(lock,))
    holder.start()
    child: Process = multiprocessing.get_context("spawn").Process(target=greet_from_process)  # type: ignore[assignment]
    child.start()
    child.join()
    holder.join()
    tell("the child ended with {code}", code=child.exitcode)


def thread_fork_seen(seen: Seen) -> str:
    expect(seen.one("the child has").data["threads"] == 1, "the child has other threads")
    expect(seen.one("the child ended").data["code"] == 0, "the child did not end well")
    return "a process made by spawn has one thread and none of the parent's locks: it ran and ended well"
