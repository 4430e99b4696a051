"""What waits to be sent to a worker, while two threads send."""

from __future__ import annotations

import marshal
import socket
import threading
from contextlib import suppress

from manyhands.backends.workers.framing import _LENGTH as LENGTH
from manyhands.backends.workers.framing import Outbox


def test_two_threads_send() -> None:
    """Each record arrives once and whole, however the threads take turns."""
    ours, theirs = socket.socketpair()
    outbox, received = Outbox(ours), bytearray()

    def send(first: int) -> None:
        for number in range(first, first + 3000):
            outbox.put((number, b"x" * (number % 300)))

    threads = [threading.Thread(target=send, args=[first]) for first in (0, 10_000)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads) or outbox.waiting:
        outbox.flush()
        with suppress(BlockingIOError):
            received += theirs.recv(1 << 16, socket.MSG_DONTWAIT)
    ours.close()
    while block := theirs.recv(1 << 16):
        received += block
    theirs.close()
    found = []
    while received:
        (size,) = LENGTH.unpack_from(received)
        found.append(marshal.loads(received[LENGTH.size : LENGTH.size + size])[0])
        del received[: LENGTH.size + size]
    assert sorted(found) == [*range(3000), *range(10_000, 13_000)]
