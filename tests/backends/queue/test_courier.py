"""What speaks with the broker: when it has it forget a report. All else of it is tested with real brokers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import pytest

from conftest import wait_for
from manyhands.backends.queue.carrier import Arrived, Beat, Whereabouts
from manyhands.backends.queue.courier import Courier, Event, Heard
from manyhands.core.attempt import AttemptId


class Played:
    """A broker that has some readings of reports, and notes what it is to forget."""

    name, most_together = "r-1", 1

    def __init__(self, readings: int) -> None:
        self.left, self.forgotten = readings, 0

    def open(self) -> None: ...

    def renew(self, *, again: bool) -> Beat:
        return Beat({}, again, 0.0, 0.0, 0.0)

    def send(self, attempts: Sequence[tuple[AttemptId, bytes]], together: int = 1) -> None: ...

    def receive(self, timeout: float) -> Sequence[Arrived]:
        if not self.left:
            time.sleep(min(timeout, 0.01))
            return []
        self.left -= 1
        return [Arrived(b"{}", 0.0)]

    def forget(self, readings: int) -> None:
        self.forgotten += readings

    def interrupt(self) -> None: ...

    def claim(self, ids: Sequence[AttemptId]) -> Sequence[str]:
        return ["" for _ in ids]

    def find(self, ids: Sequence[AttemptId]) -> Sequence[Whereabouts]:
        return [Whereabouts(None, True) for _ in ids]

    def tell(self, consumers: Collection[str], message: bytes) -> None: ...

    def pause(self, paused: bool) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


Begin = Callable[[Played], tuple[Courier, "queue.SimpleQueue[Event]"]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts couriers; ends them."""
    begun: list[Courier] = []

    def start(sender: Played) -> tuple[Courier, queue.SimpleQueue[Event]]:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        begun.append(Courier(sender, events.put, 60.0))
        return begun[-1], events

    yield start
    for one in begun:
        one.close()


def heard(events: queue.SimpleQueue[Event], number: int) -> None:
    """Wait for so many readings."""
    while number:
        number -= isinstance(events.get(timeout=30), Heard)


def test_nothing_is_forgotten_that_was_not_taken(begin: Begin) -> None:
    """Three readings have come, and two are taken: a resume after a kill would want the third."""
    sender = Played(3)
    one, events = begin(sender)
    heard(events, 3)
    one.taken()
    one.taken()
    one.returned(ends=False)
    wait_for(lambda: sender.forgotten == 2)
    one.settled()
    one.taken()
    one.returned(ends=False)
    wait_for(lambda: sender.forgotten == 3)


def test_ends_are_kept_until_they_are_in_the_journal(begin: Begin) -> None:
    """What comes after them, too, because a commit is of all that was reported."""
    sender = Played(3)
    one, events = begin(sender)
    heard(events, 3)
    one.taken()
    one.returned(ends=True)
    one.taken()
    one.returned(ends=False)
    done = threading.Event()
    one.do(done.set)
    assert done.wait(30)
    assert sender.forgotten == 0
    one.settled()
    wait_for(lambda: sender.forgotten == 2)
