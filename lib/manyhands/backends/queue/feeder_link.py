"""Between a consumer and its feeder, a worker of Celery or RQ in a process of its own: lines of JSON over a pair of sockets.

    consumer -> feeder: queues, ahead, done, back, gone, end        feeder -> consumer: ready, failed, say, attempt

``attempt`` has a number, and is held by the feeder until that number is ``done``, or goes ``back`` to the broker.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

_READ: Final = 1 << 16
_LONGEST: Final = 1000
"""Characters of what is said."""


class Link:
    """One end of it. `send` may be called from any thread."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._mutex = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send one message; return whether the other end is there."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            with self._mutex:
                self._socket.sendall(data)
        except OSError:
            return False
        return True

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the other end sends, until it is gone."""
        with self._socket.makefile("rb", buffering=_READ) as file:
            try:
                for line in file:
                    yield json.loads(line)
            except (OSError, ValueError):  # it died in the middle of a line
                return

    def close(self) -> None:
        """End it, for both."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class _Saying(logging.Handler):
    """Warnings of Celery and RQ for the user, each on one line, and not the same one again and again."""

    def __init__(self, link: Link) -> None:
        super().__init__(logging.WARNING)
        self._link = link
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        text = " ".join(record.getMessage().split())[:_LONGEST]
        if text != self._last:
            self._last = text
            self._link.send({"type": "say", "text": text})


def saying(link: Link) -> logging.Handler:
    """A handler of log records for the user of the consumer."""
    return _Saying(link)


Orders = Callable[[dict[str, Any]], None]


def as_feeder(work: Callable[[Mapping[str, Any], Link], None], ordered: Orders) -> None:
    """Be the process: our argument is the descriptor of the link. ``ordered`` gets what the consumer wants, in a thread.

    Without the consumer it ends at once, whatever it is doing: nobody wants what it would get.
    """
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    settings = json.load(sys.stdin)

    def listen() -> None:
        for message in link.messages():
            ordered(message)
        os._exit(1)

    failure = None
    try:
        threading.Thread(target=listen, name="manyhands-orders", daemon=True).start()
        work(settings, link)
    except Exception as error:  # whatever it is, the user is told in one line
        failure = " ".join(str(error).split()) or type(error).__name__
        link.send({"type": "failed", "why": failure[:_LONGEST]})
    os._exit(0 if failure is None else 1)  # threads of the broker's client may hang
