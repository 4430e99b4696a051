"""Messages between the coordinator and a worker process: marshal records over a stream socket, each preceded by its length.

marshal data is specific to one interpreter version, which both ends share by construction; no data comes from another user.
"""

from __future__ import annotations

import marshal
import socket
import threading
from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

# Messages to a worker: a list of jobs (an empty one: exit), or
DROP: Final = "drop"
"""Return the jobs that have not begun."""

# Kinds of records that a worker or a host of greenlets sends; the first field of each. A worker notes what has started and ended.
READY: Final = 0
BROKEN: Final = 1
STARTED: Final = 2
ENDED: Final = 3
# What only a worker sends. The second field of these is the position in its notes (`manyhands.backends.workers.notes`) at which it was
# sent.
NOTED: Final = 5
"""There are new notes: a moment, if a chunk was begun, else the end of a job in one of two forms. A short one, for a job that ended well
and printed nothing: (moment, started, wall, user, system, peak memory, result). A whole one of `WHOLE` fields: (whether the next job has
begun, whether the worker leaves, moment, the fields of `Measured`)."""
NOTE: Final = 6
"""A note that did not fit in there is the third field."""
DROPPED: Final = 7

WHOLE: Final = 4

_LENGTH: Final = Struct("<Q")
_BLOCK: Final = 1 << 18


def send(sock: socket.socket, record: Any) -> None:
    """Send one record; waits until the other end has taken it. Raises OSError if the other end is gone."""
    data = marshal.dumps(record)
    head = _LENGTH.pack(len(data))
    if len(data) < _BLOCK:
        sock.sendall(head + data)
    else:
        sock.sendall(head)
        sock.sendall(data)


def receive(sock: socket.socket) -> Any:
    """Wait for one record; None if the other end is gone."""
    head = _exactly(sock, _LENGTH.size)
    data = head and _exactly(sock, _LENGTH.unpack(head)[0])
    return marshal.loads(data) if data else None


def _exactly(sock: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        try:
            got = sock.recv_into(view[at:])
        except ConnectionError:
            return None
        if not got:
            return None
        at += got
    return data


class Inbox:
    """The records of one worker that have arrived. It never waits, so a worker that stalls in the middle of one delays no other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = bytearray()
        self.ended = False
        """Whether the other end is gone."""

    def records(self) -> Iterator[Any]:
        """The records that have arrived completely."""
        self._read()
        data, at = self._data, 0
        try:
            while len(data) - at >= _LENGTH.size:
                end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
                if len(data) < end:
                    break
                record = marshal.loads(memoryview(data)[at + _LENGTH.size : end])
                at = end
                yield record
        finally:
            del data[:at]

    def _read(self) -> None:
        try:
            while not self.ended:
                block = self._sock.recv(_BLOCK, socket.MSG_DONTWAIT)
                self._data += block
                self.ended = not block
        except BlockingIOError:
            pass
        except ConnectionError:
            self.ended = True


class Outbox:
    """Records for one worker, sent as far as it reads them. It never waits, so a stopped worker delays no other. Two threads may use it: the
    end of the program closes a backend while the thread of its batch is at work."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data: deque[memoryview] = deque()
        self._sending = threading.Lock()

    @property
    def waiting(self) -> bool:
        """Whether something still has to be sent: call `flush` when the socket is writable."""
        return bool(self._data)

    def put(self, record: Any) -> None:
        """Send a record after all others."""
        data = marshal.dumps(record)
        head = _LENGTH.pack(len(data))
        with self._sending:
            if len(data) < _BLOCK:
                self._data.append(memoryview(head + data))
            else:
                self._data += memoryview(head), memoryview(data)
            self._send()

    def flush(self) -> None:
        """Send what can be sent now; discard it if the other end is gone, which reading will detect."""
        with self._sending:
            self._send()

    def _send(self) -> None:
        try:
            while self._data:
                part = self._data[0]
                sent = self._sock.send(part, socket.MSG_DONTWAIT)
                if sent < len(part):
                    self._data[0] = part[sent:]
                else:
                    self._data.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._data.clear()
