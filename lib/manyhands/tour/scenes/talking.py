"""Talking: how processes send each other something, through pipes and queues."""

from __future__ import annotations

import signal
import statistics
import time
from multiprocessing import Barrier, Pipe, Process, Queue, SimpleQueue, Value
from multiprocessing.connection import Connection
from typing import Any

import psutil

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Event, Seen, expect


def answer(pipe: Connection) -> None:
    tell("receives {message!r}", message=pipe.recv())
    tell("sends {message!r}, and closes its end", message="hello, too")
    pipe.send("hello, too")
    pipe.close()


def talk_duplex() -> None:
    """A Pipe has two ends, and both may send and receive."""
    mine, theirs = Pipe()
    child = Process(target=answer, args=(theirs,))
    child.start()
    theirs.close()  # the child has its own; now the end of the child is the end of the pipe
    tell("sends {message!r}", message="hello")
    mine.send("hello")
    tell("receives {message!r}", message=mine.recv())
    try:
        mine.recv()
    except EOFError:
        tell("EOFError: nobody is at the other end any more")
    child.join()


def talk_duplex_seen(seen: Seen) -> str:
    child, parent = seen.all("receives", 2)
    expect((child.data["message"], parent.data["message"]) == ("hello", "hello, too"), "they received something else")
    expect(child.pid != parent.pid, "one process has talked to itself")
    expect([one.pid for one in seen.all("sends", 2)] == [parent.pid, child.pid], "they did not take turns")
    expect(seen.one("EOFError"), "the end was not noticed")
    return f"{parent.pid} said hello, {child.pid} said hello, too; both were heard, and so was the end"


def square(number: int, writing: Connection) -> None:
    with doing("squares {number}", number=number):
        time.sleep(scaled(0.5 / number))  # the first takes longest
    tell("sends {result}, and closes its end", result=number * number)
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
        tell("receives {result} from {worker}", worker=process.pid, result=reading.recv())
        reading.close()
        process.join()
    tell("open ends: {ends}", ends=sum(not reading.closed for _, reading in started))


def talk_oneway_seen(seen: Seen) -> str:
    sent, received = seen.all("sends"), seen.all("receives")
    results = [one.data["result"] for one in received]
    expect(results == [n * n for n in range(1, seen.options["workers"] + 1)], f"the results were {results}")
    expect(
        {one.pid: one.data["result"] for one in sent} == {one.data["worker"]: one.data["result"] for one in received},
        "somebody else has sent a result",
    )
    expect(seen.one("open ends").data["ends"] == 0, "an end is still open")
    return (
        f"sent in the order {listed(sent)}, received in the order {listed(received)}: each worker has a pipe of its own"
    )


def listed(events: list[Event]) -> str:
    return ", ".join(str(one.data["result"]) for one in events)


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


def play_cards(plan: list[tuple[float, str | None]], queue: Any, together: Any) -> None:
    together.wait()
    began = time.monotonic()
    for moment, card in plan:
        time.sleep(max(0.0, began + scaled(moment) - time.monotonic()))
        if card:
            tell("puts the {card}", card=card)
            queue.put(card)
        else:
            with doing("takes a card"):  # waits while there is none
                card = queue.get()
            tell("has the {card}", card=card)


def talk_cards() -> None:
    """Who takes from a queue gets what has been in it longest; who takes from an empty one waits until somebody puts."""
    queue: Any = Queue()
    plans: dict[str, list[tuple[float, str | None]]] = {
        "No. 1": [(0.1, "king of hearts"), (0.5, "queen of spades"), (4.1, "ace of clubs")],
        "No. 2": [(2.1, None)],  # too late for the first two, too early for the third
        "No. 3": [(1.1, None), (1.5, None)],
    }
    together = Barrier(len(plans))
    players = [Process(target=play_cards, args=(plan, queue, together), name=name) for name, plan in plans.items()]
    for player in players:
        player.start()
    for player in players:
        player.join()


def talk_cards_seen(seen: Seen) -> str:
    put, got = seen.all("puts", 3), seen.all("has the", 3)
    cards = [one.data["card"] for one in put]
    expect(cards == [one.data["card"] for one in got], "the cards did not come in their order")
    expect([one.process for one in got] == ["No. 3", "No. 3", "No. 2"], "another player has got a card")
    waiting = seen.spans("takes", 3)[2]
    expect(got[1].at < waiting.begin < put[2].at <= waiting.end, "No. 2 did not have to wait for a card")
    return (
        f"No. 3 got the {cards[0]}, then the {cards[1]}, as they had been put; "
        f"No. 2 found nothing, and waited {waiting.took:.2f} s for the {cards[2]}"
    )


def echo(receive: Any, send: Any, messages: int) -> None:
    for _ in range(messages):
        send(receive())
    tell("has sent {messages} messages back", messages=messages)


def round_trips(kind: str, messages: int) -> list[float]:
    """Send a number to another process, wait until it is back, and so on: the seconds that each took."""
    mine: Any
    theirs: Any
    if kind == "Pipe":
        mine, theirs = Pipe()
        send, receive, ends = mine.send, mine.recv, (theirs.recv, theirs.send)
    else:
        mine, theirs = (Queue(), Queue()) if kind == "Queue" else (SimpleQueue(), SimpleQueue())
        send, receive, ends = mine.put, theirs.get, (mine.get, theirs.put)
    process = Process(target=echo, args=(*ends, messages), name=kind)
    process.start()
    taken = []
    for number in range(messages):
        began = time.perf_counter()
        send(number)
        if receive() != number:
            raise RuntimeError(f"{kind} has lost something, or changed the order")
        taken.append(time.perf_counter() - began)
    process.join()
    return taken


ROUNDS = 4


def talk_cost(messages: int) -> None:
    """There and back again: a Queue is a pipe with locks and a thread, and each way costs; how much is measured, not believed."""
    kinds = ("Pipe", "SimpleQueue", "Queue")
    medians = [{kind: statistics.median(round_trips(kind, messages)) for kind in kinds} for _ in range(ROUNDS)]
    best = {kind: min(median[kind] for median in medians) * 1e6 for kind in kinds}  # the least disturbed round
    for kind, each in best.items():
        bar = "█" * round(24 * each / max(best.values()))
        tell("{kind:<11} {each:6.1f} us {bar}", kind=kind, each=each, bar=bar)


def talk_cost_seen(seen: Seen) -> str:
    found = {one.data["kind"]: one.data["each"] for one in seen.all("{kind")}
    expect(list(found) == ["Pipe", "SimpleQueue", "Queue"], "not all were measured")
    back = [(one.process, one.data["messages"]) for one in seen.all("has sent {messages}")]
    wanted = [(kind, seen.options["messages"]) for _ in range(ROUNDS) for kind in found]
    expect(back == wanted, "not all came back")
    ratio = found["Queue"] / found["Pipe"]
    expect(ratio > 1, f"a Queue was not slower than a Pipe ({ratio:.2f} times its time)")
    return seen.timed(
        f"a round trip by Queue took {ratio:.1f} times as long as by Pipe, by SimpleQueue "
        f"{found['SimpleQueue'] / found['Pipe']:.1f} times (the best median of {ROUNDS} x {seen.options['messages']:,})"
    )
