"""Talking: how processes send each other something, through pipes and queues."""

from __future__ import annotations

import signal
import time
from multiprocessing import Pipe, Process, Queue, SimpleQueue, Value
from multiprocessing.connection import Connection
from typing import Any

import psutil

from manyhands.tour.scene_tools import scaled, tell
from manyhands.tour.seen import Seen, expect


def answer(pipe: Connection) -> None:
    tell("got {message!r}", message=pipe.recv())
    pipe.send("hello, too")
    pipe.close()


def talk_duplex() -> None:
    """A Pipe has two ends, and both may send and receive."""
    mine, theirs = Pipe()
    child = Process(target=answer, args=(theirs,))
    child.start()
    theirs.close()  # the child has its own; now the end of the child is the end of the pipe
    mine.send("hello")
    tell("got {message!r}", message=mine.recv())
    try:
        mine.recv()
    except EOFError:
        tell("nobody is at the other end any more")
    child.join()


def talk_duplex_seen(seen: Seen) -> str:
    child, parent = seen.all("got", 2)
    expect((child.data["message"], parent.data["message"]) == ("hello", "hello, too"), "they got something else")
    expect(child.pid != parent.pid, "one process has talked to itself")
    expect(seen.one("nobody is at the other end"), "the end was not noticed")
    return f"{parent.pid} said hello, {child.pid} said hello, too; both were heard, and so was the end"


def square(number: int, writing: Connection) -> None:
    time.sleep(scaled(0.5 / number))  # the first takes longest
    writing.send(number * number)
    writing.close()


def talk_oneway(workers: int) -> None:
    """Pipe(False): one end only receives, the other only sends. Each worker has its own, so the results keep their order."""
    started = []
    for number in range(1, workers + 1):
        reading, writing = Pipe(duplex=False)
        process = Process(target=square, args=(number, writing))
        process.start()
        writing.close()
        started.append((process, reading))
    for process, reading in started:
        tell("worker {worker} returned {result}", worker=process.pid, result=reading.recv())
        reading.close()
        process.join()
    tell("open ends: {ends}", ends=sum(not reading.closed for _, reading in started))


def talk_oneway_seen(seen: Seen) -> str:
    results = seen.data("worker {worker} returned", "result")
    expect(results == [n * n for n in range(1, seen.options["workers"] + 1)], f"the results were {results}")
    expect(len(set(seen.data("worker {worker} returned", "worker"))) == len(results), "a worker has answered twice")
    expect(seen.one("open ends").data["ends"] == 0, "an end is still open")
    return (
        f"{len(results)} workers returned {results}, in their order, although the first took longest; all ends are closed"
    )


BLOCK = bytes(1016)  # with the 8 bytes that come before every message: 1 KiB and the pickle's own few


def fill(writing: Connection, sent: Any, messages: int) -> None:
    for _ in range(messages):
        writing.send_bytes(BLOCK)
        sent.value += len(BLOCK) + 4
    tell("has sent all of {messages}", messages=messages)


def sleeps(process: Process) -> bool:
    """Whether it waits for something else than a CPU, for which it would be called running."""
    return psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING


def talk_buffer() -> None:
    """What is sent waits in the pipe, first in, first out; when the pipe is full, send waits, too, until somebody receives."""
    reading, writing = Pipe(duplex=False)
    tell("something is waiting: {waiting}", waiting=reading.poll())
    for word in ("first", "second"):
        writing.send(word)
    tell("something is waiting: {waiting}", waiting=reading.poll())
    tell("received {words}", words=[reading.recv(), reading.recv()])
    sent, before = Value("q", 0), -1
    process = Process(target=fill, args=(writing, sent, 200))
    process.start()
    while sent.value == 0 or sent.value != before or not sleeps(process):  # until it gets no further
        before = sent.value
        time.sleep(0.3)
    tell("the sender is stuck after {size} bytes", size=before)
    for _ in range(200):
        reading.recv_bytes()
    process.join()
    tell("all is received, and the sender has ended with {code}", code=process.exitcode)


def talk_buffer_seen(seen: Seen) -> str:
    expect(seen.data("something is waiting", "waiting") == [False, True], "poll was wrong")
    expect(seen.one("received").data["words"] == ["first", "second"], "they came in another order")
    size = seen.one("the sender is stuck").data["size"]
    expect(0 < size < 200 * 1024, f"the sender was never stuck ({size} bytes)")
    expect(
        seen.one("has sent all").at > seen.one("the sender is stuck").at, "the sender was done before anybody received"
    )
    expect(seen.one("all is received").data["code"] == 0, "the sender did not end well")
    return f"the pipe took {size:,} bytes, then the sender waited until it was drained"


def send_first(pipe: Connection) -> None:
    pipe.send_bytes(bytes(1 << 22))
    pipe.recv_bytes()


def talk_buffer_broken() -> None:
    """Both send before they receive, more than the pipe holds: each waits for the other, for ever."""
    mine, theirs = Pipe()
    processes = [Process(target=send_first, args=(end,)) for end in (mine, theirs)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(scaled(1))
    tell("after a second both are still sending: {stuck}", stuck=all(process.is_alive() for process in processes))
    for process in processes:
        process.terminate()
        process.join()


def talk_buffer_broken_seen(seen: Seen) -> str:
    expect(seen.one("after a second").data["stuck"], "they were not stuck")
    return "each process waited for the other to receive; they would still wait if we had not ended them"


def put_letters(queue: Any, letters: str) -> None:
    for letter in letters:
        tell("puts {letter}", letter=letter)
        queue.put(letter)
        time.sleep(scaled(0.2))


def read_for_ever(queue: Any) -> None:
    while True:
        tell("gets {letter}", letter=queue.get())


def read_until_none(queue: Any) -> None:
    while (letter := queue.get()) is not None:
        tell("gets {letter}", letter=letter)
    tell("was told that there is no more")


def talk_queue() -> None:
    """A reader that loops for ever has to be terminated; better, the writer says that there is no more (a sentinel)."""
    for reader, end in ((read_for_ever, None), (read_until_none, "sentinel")):
        queue: Any = Queue()
        writing = Process(target=put_letters, args=(queue, "ABC"))
        reading = Process(target=reader, args=(queue,))
        reading.start()
        writing.start()
        writing.join()
        if end:
            queue.put(None)
        else:
            time.sleep(scaled(0.5))
            reading.terminate()
        reading.join()
        tell("the reader ended with {code}", code=reading.exitcode)
        queue.close()
        queue.join_thread()


def talk_queue_seen(seen: Seen) -> str:
    got, codes = seen.data("gets", "letter"), seen.data("the reader ended", "code")
    expect(got == ["A", "B", "C", "A", "B", "C"], f"the readers got {got}")
    expect(codes == [-signal.SIGTERM, 0], f"the readers ended with {codes}")
    expect(seen.one("was told that there is no more"), "the second reader was not told")
    return f"both readers got A, B, C; one had to be terminated ({codes[0]}), the other ended by itself ({codes[1]})"


def put_much(queue: Any) -> None:
    queue.put(bytes(1 << 20))


def talk_queue_broken() -> None:
    """Join before get: the child cannot end before what it has put is taken, and the parent takes nothing before the child ends."""
    queue: Any = Queue()
    child = Process(target=put_much, args=(queue,))
    child.start()
    child.join(scaled(1))
    tell("after a second the child is alive: {alive}", alive=child.is_alive())
    tell("got {size} bytes", size=len(queue.get()))
    child.join()
    tell("and now it has ended with {code}", code=child.exitcode)


def talk_queue_broken_seen(seen: Seen) -> str:
    expect(seen.one("after a second").data["alive"], "the child has ended before anybody took what it had put")
    expect(seen.one("and now it has ended").data["code"] == 0, "it did not end well")
    return "join alone would have waited for ever; once the queue was drained the child ended"


def exchange(card: str, number: int, queue: Any) -> None:
    time.sleep(scaled(0.4 * number))
    tell("puts {card}", card=card)
    queue.put(card)
    time.sleep(scaled(2.4 - 0.8 * number))  # who was last with putting is first with taking
    tell("gets {card}", card=queue.get())


def talk_cards() -> None:
    """Everybody puts a card and takes one, later: a queue gives them out in the order in which they came."""
    queue: Any = Queue()
    cards = ["king of hearts", "queen of spades", "ace of clubs"]
    players = [Process(target=exchange, args=(card, number, queue)) for number, card in enumerate(cards)]
    for player in players:
        player.start()
    for player in players:
        player.join()


def talk_cards_seen(seen: Seen) -> str:
    put, got = seen.all("puts"), seen.all("gets")
    expect(
        [one.data["card"] for one in put] == [one.data["card"] for one in got], "the cards did not come in their order"
    )
    expect(len({one.pid for one in got}) == 3, "not every player has one card")
    who = {one.data["card"]: one.process for one in put}
    return "; ".join(f"{one.process} got the {one.data['card']} of {who[one.data['card']]}" for one in got)


def stream(end: Any, messages: int, by_pipe: bool) -> None:
    send = end.send if by_pipe else end.put
    for number in range(messages):
        send(number)


def seconds_for(kind: str, messages: int) -> float:
    if kind == "Pipe":
        reading, writing = Pipe(duplex=False)
        receive, end = reading.recv, writing
    else:
        queue: Any = Queue() if kind == "Queue" else SimpleQueue()
        receive, end = queue.get, queue
    process = Process(target=stream, args=(end, messages, kind == "Pipe"))
    process.start()
    receive()  # it has begun
    began = time.perf_counter()
    received = [receive() for _ in range(messages - 1)]
    took = time.perf_counter() - began
    process.join()
    if received != list(range(1, messages)):
        raise RuntimeError(f"{kind} has lost something, or changed the order")
    return took


def talk_cost(messages: int) -> None:
    """A Queue is a pipe with two locks and a thread; how much they cost is measured, not believed."""
    for kind in ("Pipe", "SimpleQueue", "Queue"):
        each = min(seconds_for(kind, messages) for _ in range(3)) / messages * 1e6
        tell("{kind:<11} {each:5.1f} us a message {bar}", kind=kind, each=each, bar="█" * min(16, round(each)))


def talk_cost_seen(seen: Seen) -> str:
    found = {one.data["kind"]: one.data["each"] for one in seen.all("{kind")}
    expect(set(found) == {"Pipe", "SimpleQueue", "Queue"}, "not all were measured")
    return seen.timed(
        f"{seen.options['messages']:,} messages by each, none lost: a Queue took {found['Queue'] / found['Pipe']:.1f} times as long "
        f"as a Pipe, a SimpleQueue {found['SimpleQueue'] / found['Pipe']:.1f} times"
    )
