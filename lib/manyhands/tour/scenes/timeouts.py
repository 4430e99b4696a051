"""What a blocking call gives when its time is up, whatever it belongs to: each waits here for something that does not come."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import queue
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from typing import Any

from manyhands.tour.scene_tools import scaled, tell
from manyhands.tour.seen import Seen, expect


def show(call: str, limit: float, function: Callable[[], object]) -> None:
    began = time.monotonic()
    try:
        gave = f"gives {function()}"
    except Exception as error:  # whatever it raises is what we want to know
        name = type(error).__name__
        another = "another " * (name == "TimeoutError" and type(error) is not TimeoutError)
        gave = f"raises {another}{name}"
    tell("{call:<20} {gave}", call=call, gave=gave, limit=limit, waited=time.monotonic() - began)


def show_processes(limit: float) -> None:
    end = multiprocessing.Event()
    process = multiprocessing.Process(target=end.wait)
    process.start()
    show("Process.join", limit, lambda: process.join(limit))
    end.set()
    process.join()
    reading, writing = multiprocessing.Pipe(duplex=False)
    show("Connection.poll", limit, lambda: reading.poll(limit))
    writing.close()
    items: Any = multiprocessing.Queue()
    show("Queue.get, processes", limit, lambda: items.get(timeout=limit))


def show_threads(limit: float) -> None:
    event, lock, condition = threading.Event(), threading.Lock(), threading.Condition()
    thread = threading.Thread(target=event.wait)
    thread.start()
    show("Thread.join", limit, lambda: thread.join(limit))
    show("Event.wait", limit, lambda: event.wait(limit))
    event.set()
    thread.join()
    with lock, condition:
        show("Lock.acquire", limit, lambda: lock.acquire(timeout=limit))
        show("Condition.wait", limit, lambda: condition.wait(limit))
    show("Semaphore.acquire", limit, lambda: threading.Semaphore(0).acquire(timeout=limit))
    show("Barrier.wait", limit, lambda: threading.Barrier(2).wait(limit))
    full: queue.Queue[int] = queue.Queue(maxsize=1)
    show("Queue.get, threads", limit, lambda: full.get(timeout=limit))
    full.put(1)
    show("Queue.put, threads", limit, lambda: full.put(2, timeout=limit))


def show_results(limit: float) -> None:
    end = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor, ThreadPool(1) as pool:
        future, result = executor.submit(end.wait), pool.apply_async(end.wait)
        show("Future.result", limit, lambda: future.result(limit))
        show("futures.wait, undone", limit, lambda: len(concurrent.futures.wait([future], limit).not_done))
        show("AsyncResult.get", limit, lambda: result.get(limit))
        show("AsyncResult.wait", limit, lambda: result.wait(limit))
        end.set()


async def wait_for_event(limit: float) -> None:
    await asyncio.wait_for(asyncio.Event().wait(), limit)


def show_others(limit: float) -> None:
    show("asyncio.wait_for", limit, lambda: asyncio.run(wait_for_event(limit)))
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(limit)
        show("socket.recv", limit, lambda: near.recv(1))
        show("select.select", limit, lambda: select.select([near], [], [], limit))
    show("subprocess.run", limit, lambda: subprocess.run(["sleep", "600"], timeout=limit, check=False))


def talk_timeouts() -> None:
    """A time-out is told by None, by False, or by an error, each call in its own way: look before you use what it gave."""
    for part in (show_processes, show_threads, show_results, show_others):
        part(scaled(0.2))


GIVEN = {
    "Process.join": "gives None",
    "Connection.poll": "gives False",
    "Queue.get, processes": "raises Empty",
    "Thread.join": "gives None",
    "Event.wait": "gives False",
    "Lock.acquire": "gives False",
    "Condition.wait": "gives False",
    "Semaphore.acquire": "gives False",
    "Barrier.wait": "raises BrokenBarrierError",
    "Queue.get, threads": "raises Empty",
    "Queue.put, threads": "raises Full",
    "Future.result": "raises TimeoutError",
    "futures.wait, undone": "gives 1",
    "AsyncResult.get": "raises another TimeoutError",
    "AsyncResult.wait": "gives None",
    "asyncio.wait_for": "raises TimeoutError",
    "socket.recv": "raises TimeoutError",
    "select.select": "gives ([], [], [])",
    "subprocess.run": "raises TimeoutExpired",
}


def talk_timeouts_seen(seen: Seen) -> str:
    told = {one.data["call"]: one.data for one in seen.all("{call")}
    for call, gave in GIVEN.items():
        expect(call in told, f"{call} did not come back")
        expect(told[call]["gave"] == gave, f"{call} {told[call]['gave']}")
        waited, limit = told[call]["waited"], told[call]["limit"]
        expect(waited > 0.9 * limit, f"{call} came back after {waited:.3f} s, before its {limit:.3f} s were over")
    raised = sum(gave.startswith("raises") for gave in GIVEN.values())
    return f"{len(told)} calls waited for their time each; {raised} raised an error, {len(told) - raised} only gave a value, such as None or False"
