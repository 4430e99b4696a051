"""What wakes a thread that waits in poll(2)."""

from __future__ import annotations

import os
import select
import threading

from manyhands.backends.shared.wake_up import Alarm


def test_it_rings_until_it_is_heard(nothing_left: None) -> None:
    """However often it was rung, once is heard; then there is silence."""
    alarm = Alarm()
    poll = select.poll()
    poll.register(alarm.descriptor, select.POLLIN)
    assert not poll.poll(0)
    for _ in range(100_000):  # more than a pipe holds
        alarm.ring()
    assert poll.poll(0)
    while poll.poll(0):
        alarm.hush()
    alarm.hush()
    alarm.close()
    alarm.close()


def test_a_ring_that_comes_too_late_goes_nowhere(nothing_left: None) -> None:
    """Not into whatever file has got the number of the pipe: another thread may ring at any moment."""
    alarm, done = Alarm(), threading.Event()

    def ring() -> None:
        while not done.is_set():
            alarm.ring()

    ringer = threading.Thread(target=ring)
    ringer.start()
    try:
        for _ in range(300):
            old, alarm = alarm, Alarm()
            old.close()
            reading, writing = os.pipe()  # gets the numbers that have just become free
            os.set_blocking(reading, False)
            os.close(writing)
            assert os.read(reading, 1) == b""
            os.close(reading)
    finally:
        done.set()
        ringer.join()
        alarm.close()
