"""The same jobs through four brokers, and one of two consumers is killed in the middle: who gives its jobs again?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import Event, Pipe, Process
from multiprocessing.connection import Connection, wait
from statistics import median
from typing import Any

from manyhands.tour.scene_tools import doing, tell
from manyhands.tour.scenes.broker_clients import (
    Putting,
    Taking,
    putting_into_kafka,
    putting_into_rabbitmq,
    putting_into_redis,
    putting_into_zeromq,
    serving_kafka,
    serving_rabbitmq,
    serving_redis,
    serving_zeromq,
    taking_from_kafka,
    taking_from_rabbitmq,
    taking_from_redis,
    taking_from_zeromq,
)
from manyhands.tour.seen import Seen, expect

BROKERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Taking]]] = {
    "redis": (serving_redis, putting_into_redis, taking_from_redis),
    "rabbitmq": (serving_rabbitmq, putting_into_rabbitmq, taking_from_rabbitmq),
    "zeromq": (serving_zeromq, putting_into_zeromq, taking_from_zeromq),
    "kafka": (serving_kafka, putting_into_kafka, taking_from_kafka),
}
"""How each is served, how jobs are put there, and how they are taken."""


def consumer(via: str, address: Any, acks: bool, half: int, telling: Connection, falls: bool, go: Any) -> None:
    """Do jobs until job 0 comes; wait for ``go`` before the second half. The one that ``falls`` is killed in the middle of it."""
    count = 0
    for jobs, finish in BROKERS[via][2](address, acks):
        falling = falls and go.is_set()
        telling.send(("takes", jobs, time.monotonic()))
        for number, job in enumerate(jobs):
            if job == 0:
                tell("has done {count} jobs, and nothing more comes", count=count)
                return telling.send(("ends", [], time.monotonic()))
            if job > half:
                go.wait()
            if falling and number == len(jobs) // 2:
                tell("begins job {job}; of {jobs} taken, {done} are done", job=job, jobs=len(jobs), done=number)
                telling.send(("holds", jobs[number:], time.monotonic()))
                time.sleep(3600)  # it is killed before
            finish(job)
            telling.send(("has done", [job], time.monotonic()))
            count += 1
    return None


class Books:
    """What the consumers say."""

    def __init__(self, lines: list[Connection]) -> None:
        self.lines, self.said, self.taken, self.done = lines, Counter[str](), Counter[int](), Counter[int]()
        self.held: list[int] = []
        self.when: dict[int, float] = {}

    def read(self, until: Callable[[], Any], patience: float | None = None) -> None:
        """Listen until this is so, or until nobody has said anything for so many seconds."""
        while not until():
            lines = wait(self.lines, patience)
            if not lines:
                return
            for line in lines:
                self.hear(line)

    def hear(self, line: Any) -> None:
        try:
            word, jobs, at = line.recv()
        except EOFError:
            if not self.held:
                raise RuntimeError("a consumer has ended too early") from None
            return self.lines.remove(line)
        self.said[word] += 1
        if word == "takes":
            self.taken.update(jobs)
            self.when.update(dict.fromkeys(jobs, at))
        elif word == "has done":
            self.done.update(jobs)
        elif word == "holds":
            self.held = jobs
        return None


def hire(number: int, *args: Any, go: Any) -> tuple[Process, Connection]:
    hearing, telling = Pipe(duplex=False)
    process = Process(target=consumer, args=(*args, telling, number == 1, go), name=f"consumer {number}", daemon=True)
    process.start()
    telling.close()
    return process, hearing


def first_half(via: str, books: Books, put: Putting, half: int) -> tuple[float, float]:
    """Some jobs one by one, the others at once: how many are done in a second, and how many seconds one takes to get there."""
    some, waits = half // 10, []
    for job in range(1, some + 1):
        begin = time.monotonic()
        put([job])
        books.read(lambda: len(books.done) == job)  # noqa: B023 - it is asked at once
        waits.append(books.when[job] - begin)
    with doing("{via}: two consumers do {count} jobs", via=via, count=half - some):
        begin = time.monotonic()
        put(range(some + 1, half + 1))
        books.read(lambda: len(books.done) == half)
        return (half - some) / (time.monotonic() - begin), median(waits)


def second_half(via: str, books: Books, put: Putting, jobs: range, *, acks: bool) -> None:
    """One consumer is dead: the other does what it is given."""
    with doing("{via}: the other one does the rest", via=via):
        if acks:
            books.read(lambda: set(jobs) <= set(books.done))
        while not books.said["ends"]:
            put([0])  # again, if the first was sent to the dead
            books.read(lambda: books.said["ends"], patience=0.5)


def through(via: str, jobs: int, *, acks: bool) -> tuple[float, float]:
    """All jobs through one broker; in the second half a consumer is killed."""
    serve, putting, _ = BROKERS[via]
    half, full, fallen = jobs // 2, Event(), Event()
    with ExitStack() as stack:
        with doing("{via} starts", via=via):
            address = stack.enter_context(serve(acks))
        first, one = hire(1, via, address, acks, half, go=full)
        second, two = hire(2, via, address, acks, half, go=fallen)
        books = Books([one, two])
        put = stack.enter_context(putting(address, acks))
        books.read(lambda: books.said["takes"] == 2)  # both are there, and have nothing
        measured = first_half(via, books, put, half)
        put(rest := range(half + 1, jobs + 1))
        full.set()
        books.read(lambda: books.held)
        first.kill()
        first.join()
        killed, held = time.monotonic(), books.held
        tell("{via}: killed ({code}) with jobs in hand: {n}", via=via, code=first.exitcode, n=len(held), held=held)
        fallen.set()
        second_half(via, books, put, rest, acks=acks)
        second.join()
        sum_up(via, jobs, books, killed)
    return measured


def sum_up(via: str, jobs: int, books: Books, killed: float) -> None:
    again = sorted(job for job, count in books.taken.items() if count > 1 and job)
    if again:
        after = min(books.when[job] for job in again) - killed
        tell("{via}: given again after {after:.2f} s: {n}", via=via, after=after, n=len(again), again=again)
    lost = sorted(set(range(1, jobs + 1)) - set(books.done))
    twice = [job for job, count in books.done.items() if count > 1]
    text = "{via}: in {put}, out {came}, lost {missing}, twice {doubled}"
    missing, doubled, came = len(lost), len(twice), books.done.total()
    tell(text, via=via, put=jobs, came=came, missing=missing, doubled=doubled, lost=lost, twice=twice)


def show_bars(what: str, text: str, values: dict[str, float]) -> None:
    for name, value in values.items():
        bar = "█" * max(1, round(12 * value / max(values.values())))
        tell(text, via=name, bar=bar, value=value, what=what)


def all_through(via: str, jobs: int, *, acks: bool) -> None:
    found = {name: through(name, jobs, acks=acks) for name in ([*BROKERS] if via == "all" else [via])}
    rates = {name: rate for name, (rate, _) in found.items()}
    waits = {name: 1000 * wait for name, (_, wait) in found.items()}
    show_bars("rate", "{via:<9}{bar:<13}{value:7,.0f} jobs/s", rates)
    show_bars("latency", "{via:<9}{bar:<13}{value:7.2f} ms on the way", waits)


def brokers(via: str, jobs: int) -> None:
    """A job that is acknowledged when it is done is given to another consumer if the first is killed."""
    all_through(via, jobs, acks=True)


def brokers_broken(via: str, jobs: int) -> None:
    """Without acknowledgements a broker forgets a job as soon as it has sent it, and whoever is killed takes its jobs along."""
    all_through(via, jobs, acks=False)


def passed(seen: Seen) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """For each broker: its name, what was told of the death, and of the end."""
    names = [*BROKERS] if seen.options["via"] == "all" else [seen.options["via"]]
    deaths, ends = seen.all("{via}: killed", len(names)), seen.all("{via}: in {put}", len(names))
    found = [(name, dict(death.data), dict(end.data)) for name, death, end in zip(names, deaths, ends, strict=True)]
    for name, death, end in found:
        expect(death["via"] == end["via"] == name, f"{name} was not seen")
        expect(death["code"] == -9 and death["held"], f"{name}: the consumer was not killed with jobs in hand")
        expect(end["twice"] == [], f"{name}: done twice were {end['twice']}")
    expect(len(seen.all("{via:<9}{bar")) == 2 * len(names), "the table is not complete")
    return found


def brokers_seen(seen: Seen) -> str:
    found, wanted = passed(seen), seen.options["jobs"]
    again = {one.data["via"]: one.data["again"] for one in seen.all("{via}: given again")}
    for name, death, end in found:
        expect(end["came"] == wanted and end["lost"] == [], f"{name}: lost were {end['lost']}")
        expect(again.get(name) == sorted(death["held"]), f"{name}: held {death['held']}, again {again.get(name)}")
    told = ", ".join(f"{name} {len(death['held'])}" for name, death, _ in found)
    return f"{wanted:,} jobs went in, and each came out once; the jobs that the dead had in hand were given again: {told}"


def brokers_broken_seen(seen: Seen) -> str:
    found, wanted = passed(seen), seen.options["jobs"]
    for name, death, end in found:
        expect(set(death["held"]) <= set(end["lost"]), f"{name}: held were {death['held']}, lost only {end['lost']}")
        expect(end["came"] + len(end["lost"]) == wanted, f"{name}: {end['came']} came out")
    told = ", ".join(f"{name} {len(end['lost'])}" for name, _, end in found)
    return f"of {wanted:,} jobs these were lost with the consumer that was killed, and nobody knows: {told}"
