"""``HOST:PORT``, as admin programs take it."""

from __future__ import annotations

import re

from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass
from manyhands.work.host_list import is_ipv6


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address_of(text: str, port: int) -> Address:
    """``web1``, ``web1:8443``, ``192.0.2.1:22``, ``[::1]:22``, ``::1``; ``port`` where none is given. Raises UsageError."""
    match = re.fullmatch(r"(?:\[([^]]+)\]|([^:\s\[\]]+))(?::([0-9]{1,9}))?", f"[{text}]" if is_ipv6(text) else text)
    if not match or (match[1] and not is_ipv6(match[1])):
        raise UsageError(f"{text!r}: expected HOST, HOST:PORT or [IPV6]:PORT")
    host, number = match[1] or match[2], int(match[3] or port)
    if not 0 < number < 65536:
        raise UsageError(f"{text!r}: a port is a number from 1 to 65535")
    return Address(host, number)
