"""Pools: a few processes or threads that do many tasks, one after another."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import Barrier, Pool, TimeoutError, active_children, get_context, get_start_method
from multiprocessing.pool import ThreadPool
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Seen, covered, expect, most_at_once


def work(number: int, seconds: float = 1.0) -> int:
    with doing("task {number}", number=number):
        time.sleep(scaled(seconds))
    return number


def pool_async() -> None:
    """apply_async hands over a task and does not wait; a pool is closed before it is joined."""
    with Pool() as pool:
        workers = len(active_children())  # nobody else has made any
        tasks = [pool.apply_async(work, (number, random.uniform(0.2, 1))) for number in range(1, 6)]  # noqa: S311
        tell("Pool() has made {workers} workers, which have 5 tasks", workers=workers)
        try:
            pool.join()
        except ValueError as error:
            tell("join before close: {error}", error=str(error))
        pool.close()
        pool.join()
        tell("done: {numbers}", numbers=[task.get() for task in tasks])


def pool_async_seen(seen: Seen) -> str:
    spans, workers = seen.spans("task", 5), seen.one("Pool() has").data["workers"]
    expect(seen.one("done").data["numbers"] == [1, 2, 3, 4, 5], "not all 5 tasks were done")
    expect(seen.one("join before close"), "join before close was not refused")
    expect(most_at_once(spans) <= workers, f"{most_at_once(spans)} tasks ran at once on {workers} workers")
    did = len({one.event.pid for one in spans})
    expect(did <= workers, f"{did} processes did them, of {workers} workers")
    return seen.timed(
        f"5 tasks of {sum(one.took for one in spans):.2f} s in all took {covered(spans):.2f} s; {did} of {workers} workers did them"
    )


def pool_size(workers: int, tasks: int) -> None:
    """A task that finds no free worker waits for one."""
    everybody_is_there = Barrier(workers)
    with Pool(workers, initializer=everybody_is_there.wait) as pool:
        pool.map(work, range(1, tasks + 1), chunksize=1)
        pool.close()
        pool.join()


def pool_size_seen(seen: Seen) -> str:
    spans, workers, tasks = seen.spans("task"), seen.options["workers"], seen.options["tasks"]
    expect(sorted(one.event.data["number"] for one in spans) == list(range(1, tasks + 1)), "not every task was done once")
    by_worker: dict[int, list[int]] = {}
    for one in spans:
        by_worker.setdefault(one.event.pid, []).append(one.event.data["number"])
    expect(most_at_once(spans) <= workers, f"{most_at_once(spans)} tasks ran at once on {workers} workers")
    expect(len(by_worker) == min(workers, tasks), f"{len(by_worker)} workers had tasks")
    if tasks > workers:
        later, first_end = spans[workers], min(one.end for one in spans)
        expect(later.begin >= first_end, f"task {later.event.data['number']} began before any other had ended")
    several = [
        f"worker {pid} did {' and '.join(map(str, numbers))}" for pid, numbers in by_worker.items() if len(numbers) > 1
    ]
    return seen.timed(
        f"{tasks} tasks of {spans[0].took:.2f} s on {workers} workers took {covered(spans):.2f} s; {'; '.join(several) or 'one each'}"
    )


history: list[Any] = []


def begin_history(word: str) -> None:
    history.append(word)


def remember(number: int) -> tuple[int, list[Any]]:
    history.append(number)
    time.sleep(scaled(0.2))
    tell("my history is {history}", history=list(history), number=number)
    return os.getpid(), list(history)


def pool_state(workers: int) -> None:
    """A worker does task after task, and keeps what it has in its memory; what it begins with is decided at Pool()."""
    history.append("before")
    tell("before Pool() the history is {history}", history=list(history))
    with Pool(workers, initializer=begin_history, initargs=("init",)) as pool:
        history.append("after")
        tell("after Pool() it is {history}", history=list(history), method=get_start_method())
        found = pool.map(remember, range(1, 2 * workers + 1), chunksize=1)
        pool.close()
        pool.join()
    for pid in sorted({pid for pid, _ in found}):
        tell("worker {worker} ends with {history}", worker=pid, history=max((h for p, h in found if p == pid), key=len))
    tell("here it is still {history}", history=list(history))


def pool_state_seen(seen: Seen) -> str:
    copied = ["before"] if seen.one("after Pool()").data["method"] == "fork" else []
    for one in seen.all("my history", 2 * seen.options["workers"]):
        before = [e.data["number"] for e in seen.all("my history") if e.pid == one.pid and e.at <= one.at]
        wanted = [*copied, "init", *before]
        expect(one.data["history"] == wanted, f"worker {one.pid} remembers {one.data['history']}, not {wanted}")
    expect(seen.one("here it is still").data["history"] == ["before", "after"], "the main process has another history")
    ends = [one.data["history"] for one in seen.all("worker {worker} ends")]
    expect(any(len(one) > len(copied) + 2 for one in ends), "no worker did two tasks")
    start = "a copy of the main process as it was at Pool()" if copied else "the module as it is imported"
    return (
        f"each worker began with {start}, then 'init', and kept what it did; none saw 'after', which was set after Pool()"
    )


def pool_apply() -> None:
    """apply waits for its result; apply_async gives something to wait for."""
    with Pool(2) as pool:
        tell("apply gave {number}", number=pool.apply(work, (1,)))
        task = pool.apply_async(work, (2,))
        tell("apply_async came back at once; ready: {ready}", ready=task.ready())
        task.wait(scaled(0.2))
        tell("after a short wait; ready: {ready}", ready=task.ready())
        tell("get gave {number}; ready: {ready}", number=task.get(), ready=task.ready())
        pool.close()
        pool.join()


def pool_apply_seen(seen: Seen) -> str:
    first, second = seen.spans("task", 2)
    expect(seen.one("apply gave").at >= first.end, "apply came back before its task had ended")
    expect(seen.one("apply_async").at < second.end, "apply_async has waited")
    expect(not seen.one("apply_async").data["ready"], "the task was ready at once")
    expect(seen.one("get gave").data == {"number": 2, "ready": True}, "get gave something else")
    expect(seen.one("get gave").at >= second.end, "get came back before its task had ended")
    return f"apply took {seen.one('apply gave').at - first.begin:.2f} s; apply_async came back at once, and get waited"


def pool_threads() -> None:
    """ThreadPool has the same methods with threads; a callback takes one argument, the result."""
    with ThreadPool(2) as pool:
        tell("map gave {found}", found=pool.map(work, [1, 2]))
        pool.map_async(
            work, [3, 4], callback=lambda found: tell("the callback of map_async got {found}", found=found)
        ).wait()
        tell("apply gave {found}", found=pool.apply(work, (5,)))
        pool.apply_async(work, (6,), callback=lambda found: tell("the callback of apply_async got {found}", found=found))
        pool.close()
        pool.join()


def pool_threads_seen(seen: Seen) -> str:
    expect(seen.one("map gave").data["found"] == [1, 2], "map gave something else")
    expect(seen.one("the callback of map_async").data["found"] == [3, 4], "map_async's callback got something else")
    expect(seen.one("apply gave").data["found"] == 5, "apply gave something else")
    expect(seen.one("the callback of apply_async").data["found"] == 6, "apply_async's callback got something else")
    pids = {one.event.pid for one in seen.spans("task")}
    expect(len(pids) == 1, "the threads were in several processes")
    return f"map, map_async, apply and apply_async did 6 tasks in threads of process {pids.pop()}; both callbacks were called"


def pool_threads_broken() -> None:
    """A callback that takes two arguments kills the thread that gives out results: nobody ever gets one."""
    threading.excepthook = lambda given: tell("a thread of the pool has died: {error}", error=str(given.exc_value))
    pool = ThreadPool(2)
    task = pool.apply_async(work, (1, 0.1), callback=lambda _found, _and_more: None)  # type: ignore[arg-type, misc]
    try:
        task.get(timeout=1)
        pool.apply_async(work, (2, 0.1)).get(timeout=1)
    except TimeoutError:
        tell("no result after a second")


def pool_threads_broken_seen(seen: Seen) -> str:
    died = seen.one("a thread of the pool has died")
    expect(seen.one("no result after a second"), "there was a result")
    return f"the task was done, but {died.data['error']}; then nothing was ever given out again"


def executor_of(via: str, workers: int) -> Executor:
    return ThreadPoolExecutor(workers) if via == "thread" else ProcessPoolExecutor(workers, mp_context=get_context())


def futures(via: str, workers: int, tasks: int) -> None:
    """The same lines for threads and for processes; map gives results in order, leaving the block waits for all."""
    with executor_of(via, workers) as executor:
        for number in executor.map(work, range(1, tasks + 1)):
            tell("result {number}", number=number)


def futures_seen(seen: Seen) -> str:
    spans, workers, tasks = seen.spans("task"), seen.options["workers"], seen.options["tasks"]
    expect(seen.data("result", "number") == list(range(1, tasks + 1)), "the results did not come in order")
    most, rounds = most_at_once(spans), -(-tasks // workers)
    expect(most <= workers, f"{most} tasks ran at once on {workers} workers")
    expect(most > 1 or min(workers, tasks) == 1, "no two tasks ran at once")
    pids = {one.event.pid for one in spans}
    expect(len(pids) == 1 or seen.options["via"] == "process", "threads were in several processes")
    expect(len(pids) > 1 or seen.options["via"] == "thread" or workers == 1 or tasks == 1, "one process did everything")
    one = spans[0].took
    took = covered(spans)
    return seen.timed(
        f"{tasks} tasks of {one:.2f} s on {workers} {seen.options['via']} workers took {took:.2f} s: {rounds} round{'s' * (rounds > 1)}"
    )


def wait_and_return(seconds: float) -> float:
    with doing("waits {seconds} s", seconds=seconds):
        time.sleep(scaled(seconds))
    return seconds


def futures_completed(via: str, workers: int) -> None:
    """as_completed gives each future when it is done, whatever the order in which they were submitted."""
    with executor_of(via, workers) as executor:
        waiting = [executor.submit(wait_and_return, seconds) for seconds in (1.5, 0.9, 0.3, 1.2, 0.6)]
        for future in as_completed(waiting):
            tell("done: {seconds} s", seconds=future.result())


def futures_completed_seen(seen: Seen) -> str:
    order = seen.data("done", "seconds")
    expect(sorted(order) == [0.3, 0.6, 0.9, 1.2, 1.5], f"the results were {order}")
    ends = [one.end for one in seen.spans("waits")]
    early = sum(one.at < max(ends) for one in seen.all("done"))
    expect(early > 0, "no result came before the last was done")
    return f"submitted as 1.5, 0.9, 0.3, 1.2, 0.6, done as {', '.join(map(str, order))}; {early} came before the last had ended"


def state_of(future: Future[Any]) -> str:
    if future.cancelled():
        return "cancelled"
    if future.done():
        return "failed" if future.exception() else "done"
    return "running" if future.running() else "pending"


def task_that(name: str, may_end: threading.Event) -> str:
    tell("{name} begins", name=name)
    may_end.wait()
    if name == "bad":
        raise ValueError("no good")
    return f"result of {name}"


def tell_states(when: str, futures: dict[str, Future[str]]) -> None:
    for name, future in futures.items():
        tell("{when} {name} is {state}", when=when, name=name, state=state_of(future))


def future_states() -> None:
    """A future is pending until a worker takes it, then running, then done or failed; cancel works only while it is pending."""
    began, may_end = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1, initializer=began.set) as executor:
        futures = {name: executor.submit(task_that, name, may_end) for name in ("good", "bad", "late")}
        began.wait()
        while not futures["good"].running():
            time.sleep(0.001)
        tell_states("while the worker is busy", futures)
        for name in ("good", "late"):
            tell("cancel {name}: {done}", name=name, done=futures[name].cancel())
        may_end.set()
    tell_states("at the end", futures)
    for name, future in futures.items():
        try:
            tell("{name}.result() gives {given!r}", name=name, given=future.result())
        except (ValueError, CancelledError) as error:
            tell("{name}.result() raises {error}", name=name, error=repr(error))


def future_states_seen(seen: Seen) -> str:
    states = [(one.data["name"], one.data["state"]) for one in seen.all("{when} {name} is", 6)]
    early, late = states[:3], states[3:]
    expect(early == [("good", "running"), ("bad", "pending"), ("late", "pending")], f"the states were {early}")
    expect(late == [("good", "done"), ("bad", "failed"), ("late", "cancelled")], f"the states are {late}")
    expect(seen.data("{name} begins", "name") == ["good", "bad"], "what was cancelled has begun")
    cancelled = {one.data["name"]: one.data["done"] for one in seen.all("cancel")}
    expect(cancelled == {"good": False, "late": True}, f"cancel returned {cancelled}")
    expect(seen.one("{name}.result() gives").data["given"] == "result of good", "the result is another")
    raised = {one.data["name"]: one.data["error"].partition("(")[0] for one in seen.all("{name}.result() raises")}
    expect(raised == {"bad": "ValueError", "late": "CancelledError"}, f"raised were {raised}")
    return "pending, running, done, failed, cancelled: each was seen; what ran could not be cancelled, what waited could, and never began"


def future_states_broken() -> None:
    """An exception waits in its future until somebody asks; who never calls result never hears of it."""
    may_end = threading.Event()
    may_end.set()
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(task_that, "bad", may_end)
    tell("all tasks are over, and no error was reported")
    tell("I ask, and it has {state}: {error}", state=state_of(future), error=repr(future.exception()))


def future_states_broken_seen(seen: Seen) -> str:
    expect(seen.one("{name} begins").at < seen.one("all tasks are over").at, "it was not done before")
    found = seen.one("I ask").data
    expect(found["state"] == "failed", f"it has {found['state']}")
    return f"a task failed with {found['error']}, and the program went on as if nothing had happened"
