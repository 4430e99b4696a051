"""Messages in detail: what carries them, when they are copied, and how their readers learn that there are no more."""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
import time
from collections.abc import Callable
from multiprocessing import Barrier, Event, JoinableQueue, Pipe, Process, Queue, SimpleQueue
from multiprocessing.connection import wait
from pathlib import Path
from queue import Empty
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Seen, expect

SIZE = 1 << 20
"""More than a socket holds: whoever sends has to wait for whoever receives."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_message(way: str) -> bytes:
    message = os.urandom(SIZE)
    tell("{way} takes {size:,} bytes, digest {digest:.6}", way=way, size=len(message), digest=digest(message))
    return message


def got(way: str, message: bytes) -> None:
    tell("{way} brings {size:,} bytes, digest {digest:.6}", way=way, size=len(message), digest=digest(message))


def receive_all(end: socket.socket) -> bytes:
    with end:
        return b"".join(iter(lambda: end.recv(1 << 16), b""))  # a stream of bytes: nothing says where a message ends


def send_to(end: socket.socket) -> None:
    with end:
        end.sendall(make_message("socketpair"))


def by_socketpair() -> None:
    """Two connected ends: one is given to a child."""
    mine, theirs = socket.socketpair()
    child = Process(target=send_to, args=(theirs,))
    child.start()
    theirs.close()
    got("socketpair", receive_all(mine))
    child.join()


def connect_to(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as end:
        end.sendall(make_message("TCP"))


def by_tcp() -> None:
    """An address: any program may connect to it, from another machine, too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = Process(target=connect_to, args=(server.getsockname()[1],))
        child.start()
        connection, _ = server.accept()
        got("TCP", receive_all(connection))
    child.join()


def write_into(path: str) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory:
        memory[:] = make_message("mmap")


def by_file() -> None:
    """A file that both have mapped: what one writes the other has, but somebody has to say when."""
    Path("shared").write_bytes(bytes(SIZE))
    with open("shared", "r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory:
        child = Process(target=write_into, args=("shared",))
        child.start()
        child.join()  # this is how we know that it has written
        got("mmap", memory[:])


def talk_ways() -> None:
    """Three ways for the same bytes: a pair of sockets, a TCP connection, a file that both have mapped into their memory."""
    for way in (by_socketpair, by_tcp, by_file):
        way()


def talk_ways_seen(seen: Seen) -> str:
    ways = ["socketpair", "TCP", "mmap"]
    sent = {one.data["way"]: one for one in seen.all("{way} takes", 3)}
    received = {one.data["way"]: one for one in seen.all("{way} brings", 3)}
    expect(sorted(sent) == sorted(received) == sorted(ways), "not every way was tried")
    for way in ways:
        expect(sent[way].data == received[way].data, f"{way} brought other bytes")
        expect(sent[way].pid != received[way].pid, f"one process was on both ends of {way}")
    return f"{SIZE:,} random bytes went from a child to its parent by {', '.join(ways)}, and arrived as they were"


# -- when a message is copied -----------------------------------------------------------------------------------------------


def unpack(way: str, read: Callable[[], Any], may_read: Any) -> None:
    may_read.wait()
    while isinstance(message := read(), bytes):
        pass
    tell("{way}: it arrives as {message}", way=way, message=message)


def change_after(way: str, send: Callable[[Any], object], read: Callable[[], Any], copy: bool = False) -> None:
    """Send a list, and change it before anybody reads it."""
    may_read = Event()
    reader = Process(target=unpack, args=(way, read, may_read), name="reader")
    reader.start()
    if way.startswith("Queue"):
        send(bytes(SIZE))  # the queue's thread is busy with this one until somebody reads
    dishes = ["salad"]
    send(list(dishes) if copy else dishes)
    dishes.append("bread")
    tell("{way}: sent, then made {dishes}", way=way, dishes=dishes)
    may_read.set()
    reader.join()


def talk_pickling() -> None:
    """Pipe.send and SimpleQueue.put pickle at once; Queue.put leaves that to a thread, for later: give it what you will not change."""
    reading, writing = Pipe(duplex=False)
    change_after("Pipe", writing.send, reading.recv)
    simple: Any = SimpleQueue()
    change_after("SimpleQueue", simple.put, simple.get)
    for way in ("Queue", "Queue (copy)"):
        queue: Any = Queue()
        change_after(way, queue.put, queue.get, copy="copy" in way)
        queue.close()
        queue.join_thread()


def talk_pickling_seen(seen: Seen) -> str:
    brought = {one.data["way"]: one.data["message"] for one in seen.all("{way}: it arrives", 4)}
    old, new = ["salad"], ["salad", "bread"]
    wanted = {"Pipe": old, "SimpleQueue": old, "Queue": new, "Queue (copy)": old}
    expect(brought == wanted, f"they brought {brought}")
    expect(seen.data("{way}: sent", "dishes") == [new] * 4, "a list was not changed")
    return "Pipe and SimpleQueue brought it as it was when it was sent; Queue brought what it had become, unless it was given a copy"


def read_some(queue: Any, ready: Any) -> None:
    ready.set()
    while (item := queue.get()) is not None:
        tell("gets {item}", item=item)


def talk_pickling_broken() -> None:
    """put comes back before the item is pickled: that it cannot be is said on stderr by a thread, and the item is lost."""
    queue: Any = Queue()
    ready = Event()
    reader = Process(target=read_some, args=(queue, ready), name="reader")
    reader.start()
    ready.wait()
    for item in ("salad", lambda: "bread", "dessert"):
        name = "a lambda" if callable(item) else item
        queue.put(item)
        tell("put({name}) has come back", name=name)
    queue.put(None)
    reader.join()
    queue.close()
    queue.join_thread()
    try:
        Pipe()[0].send(lambda: "bread")
    except Exception as error:  # PicklingError, or AttributeError before Python 3.12
        tell("Pipe.send raises {error}", error=type(error).__name__)


def talk_pickling_broken_seen(seen: Seen) -> str:
    put, items = seen.data("put({name})", "name"), seen.data("gets", "item")
    expect(put == ["salad", "a lambda", "dessert"], f"put were {put}")
    expect(items == ["salad", "dessert"], f"got were {items}")
    return f"3 items were put without an error, and {len(items)} arrived; Pipe.send said at once: {seen.one('Pipe.send').data['error']}"


# -- how a queue ends -------------------------------------------------------------------------------------------------------

DISHES = ("salad", "bread", "entree", "dessert")


def dry(dish: str) -> None:
    with doing("dries the {dish}", dish=dish):
        time.sleep(scaled(0.2))


def until_sentinel(queue: Any) -> None:
    for dish in iter(queue.get, None):
        dry(dish)
    tell("leaves: sentinel")


def until_count(queue: Any, count: int) -> None:
    for _ in range(count):
        dry(queue.get())
    tell("leaves: agreed count")


def until_event(queue: Any, all_done: Any) -> None:
    while not all_done.is_set():
        try:
            dish = queue.get(timeout=0.05)
        except Empty:
            continue
        dry(dish)
        queue.task_done()
    tell("leaves: event")


def until_idle(queue: Any) -> None:
    try:
        while True:
            dry(queue.get(timeout=max(1.0, scaled(1))))  # too short, and it leaves while the next dish is on its way
    except Empty:
        tell("leaves: idle time-out")


def dryer(until: Callable[..., None], queue: Any, everybody: Any, *more: Any) -> None:
    everybody.wait()
    until(queue, *more)


def run_dryers(way: str, queue: Any, jobs: list[tuple[Any, ...]], say_so: Callable[[], object]) -> None:
    everybody = Barrier(len(jobs) + 1)
    dryers = [
        Process(target=dryer, args=(until, queue, everybody, *more), name=f"dryer {n}")
        for n, (until, *more) in enumerate(jobs, 1)
    ]
    for process in dryers:
        process.start()
    for dish in DISHES:
        queue.put(dish)
    everybody.wait()
    say_so()
    for process in dryers:
        process.join()
    tell("{way}: all have left; empty: {empty}", way=way, empty=queue.empty())
    queue.close()
    queue.join_thread()


def queue_ends(workers: int) -> None:
    """A queue never says that no more will come: a sentinel, a number, an event, or one's own patience has to."""
    queue: Any = Queue()
    joinable: Any = JoinableQueue()
    all_dry: Any = Event()
    run_dryers("sentinel", queue, [(until_sentinel,)] * workers, lambda: [queue.put(None) for _ in range(workers)])
    counts = [len(DISHES[n::workers]) for n in range(workers)]
    run_dryers("agreed count", Queue(), [(until_count, count) for count in counts], lambda: None)
    run_dryers("event", joinable, [(until_event, all_dry)] * workers, lambda: (joinable.join(), all_dry.set()))
    run_dryers("idle time-out", Queue(), [(until_idle,)] * workers, lambda: None)


def queue_ends_seen(seen: Seen) -> str:
    ways, workers = ["sentinel", "agreed count", "event", "idle time-out"], seen.options["workers"]
    ends = seen.all("{way}: all have left", len(ways))
    expect([one.data["way"] for one in ends] == ways, "not every way was tried")
    begin = float("-inf")
    for way, end in zip(ways, ends, strict=True):
        dried = [one.event.data["dish"] for one in seen.spans("dries") if begin <= one.begin < end.at]
        expect(sorted(dried) == sorted(DISHES), f"{way}: dried were {dried}")
        expect(len({one.pid for one in seen.all(f"leaves: {way}", workers)}) == workers, f"{way}: somebody has not left")
        expect(end.data["empty"], f"{way}: something is still in the queue")
        begin = end.at
    return f"{', '.join(ways)}: each time {len(DISHES)} dishes were dried, and all {workers} dryers left by themselves"


def queue_ends_broken(workers: int) -> None:
    """One sentinel is read by one dryer; the others wait for ever for one of their own."""
    queue: Any = Queue()
    everybody = Barrier(workers + 1)
    dryers = [
        Process(target=dryer, args=(until_sentinel, queue, everybody), name=f"dryer {n + 1}") for n in range(workers)
    ]
    for process in dryers:
        process.start()
    for item in (*DISHES, None):
        queue.put(item)
    everybody.wait()
    wait([process.sentinel for process in dryers])  # until one has left
    for process in dryers:
        process.join(scaled(1))
    tell("still waiting are {waiting} of {dryers}", waiting=sum(one.is_alive() for one in dryers), dryers=len(dryers))
    for process in dryers:
        process.terminate()
        process.join()


def queue_ends_broken_seen(seen: Seen) -> str:
    dried, end = [one.event.data["dish"] for one in seen.spans("dries")], seen.one("still waiting").data
    expect(sorted(dried) == sorted(DISHES), f"dried were {dried}")
    expect(len(seen.all("leaves: sentinel")) == 1, "not exactly one has read the sentinel")
    expect(0 < end["waiting"] == end["dryers"] - 1, f"{end['waiting']} of {end['dryers']} were waiting")
    return f"all dishes were dried and one dryer left; {end['waiting']} of {end['dryers']} would have waited for ever"
