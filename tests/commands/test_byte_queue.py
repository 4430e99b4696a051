"""What somebody does not take is kept, and nobody waits for it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from manyhands.commands.byte_queue import ByteQueue

pytestmark = pytest.mark.usefixtures("nothing_left")


def pipe() -> tuple[int, int]:
    """A pipe: (to read, to write)."""
    return os.pipe()


def sockets() -> tuple[int, int]:
    """A pair of sockets, which cannot be opened once more."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def terminal() -> tuple[int, int]:
    """A terminal that nobody reads: the same as one that was stopped by Ctrl-S."""
    return os.openpty()


@pytest.mark.parametrize("make", [pipe, sockets, terminal])
def test_a_reader_that_does_not_read_is_not_waited_for(make: Callable[[], tuple[int, int]]) -> None:
    """The rest is kept, and comes when it reads; how it is opened does not change for others."""
    reading, writing = make()
    data = b"x" * 3_000_000
    with ByteQueue(writing) as outbox:
        outbox.put(data)
        assert outbox.waiting > 1_000_000
        found = 0
        deadline = time.monotonic() + 60
        while found < len(data) and time.monotonic() < deadline:
            found += len(os.read(reading, 1 << 16))
            outbox.drain()
        assert (found, outbox.waiting) == (len(data), 0)
    assert os.get_blocking(writing)
    os.close(reading)
    os.close(writing)


def test_who_has_left_is_given_nothing_more() -> None:
    """That nobody reads is told, and costs no memory."""
    reading, writing = os.pipe()
    os.close(reading)
    with ByteQueue(writing) as outbox:
        outbox.put(b"a")
        outbox.put(b"b" * 100_000)
        assert (outbox.closed, outbox.waiting) == (True, 0)
    os.close(writing)
