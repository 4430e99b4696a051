"""A name server on 127.0.0.1 with answers that come late, or never, so that scenes need no internet.

Apart from the scenes because it is none: dnspython reads and writes the messages (RFC 1035).
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from multiprocessing.connection import Connection
from typing import Any, Final

from manyhands.tour.scene_tools import scaled

DELAYS: Final = {"quick.test": 0.2, "slow.test": 0.6, "slower.test": 1.0, "dead.test": None}
"""Seconds; any other name takes as long as ``slow.test``."""


class NameServer:
    """The server, in a process of its own while the context lasts; ``port`` of 127.0.0.1, UDP."""

    def __enter__(self) -> NameServer:
        context: Any = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
        mine, theirs = context.Pipe(duplex=False)  # like the fork, without a socket, which may be patched
        self._process = context.Process(target=serve, args=(theirs,), name="name server", daemon=True)
        self._process.start()
        self.port: int = mine.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.join()


def serve(telling: Connection) -> None:
    """Answer until terminated. A first answer, to nobody, imports what that needs: it takes longer than an answer."""
    import dns.message

    _answer_to(dns.message.make_query("quick.test", "A").to_wire())
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    telling.send(server.getsockname()[1])
    while True:
        data, client = server.recvfrom(4096)
        delay = DELAYS.get(_name(data), DELAYS["slow.test"])
        if delay is not None:
            timer = threading.Timer(scaled(delay), _answer, (server, data, client))
            timer.daemon = True
            timer.start()


def _name(data: bytes) -> str:
    import dns.message

    return str(dns.message.from_wire(data).question[0].name.to_text(omit_final_dot=True)).lower()


def _answer(server: socket.socket, data: bytes, client: Any) -> None:
    server.sendto(_answer_to(data), client)


def _answer_to(data: bytes) -> bytes:
    import dns.message
    import dns.rrset

    question = dns.message.from_wire(data)
    found = dns.message.make_response(question)
    if question.question[0].rdtype == dns.rdatatype.A:
        place = sorted(DELAYS).index(_name(data)) + 1 if _name(data) in DELAYS else 9
        found.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "A", f"127.0.0.{place}"))
    wire: bytes = found.to_wire()
    return wire
