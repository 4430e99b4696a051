"""What certificate a server presents, and whether it would be trusted: a TLS handshake, by the `ssl` module.

Separate from what is made of it, because this is about sockets only.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from manyhands.admin.addresses import Address
from manyhands.core.errors import InputError, UsageError
from manyhands.core.records import dataclass
from manyhands.core.safe_text import one_line

_MOST: Final = 64 * 1024
"""Bytes that a server may say before TLS begins."""

_HOSTNAME_MISMATCH: Final = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (openssl-verify(1))."""


class _Dialogue(NamedTuple):
    """How a protocol changes to TLS. What is sent, first nothing, because the server begins; how the line begins that agrees; and
    how one begins that refuses, at any time."""

    steps: tuple[tuple[bytes | None, bytes], ...]
    refuses: bytes


STARTTLS: Final = {
    "smtp": _Dialogue(
        ((None, b"220( |$)"), (b"EHLO localhost", b"250( |$)"), (b"STARTTLS", b"220( |$)")), b"[45]"
    ),  # RFC 3207
    "imap": _Dialogue(((None, rb"\* OK"), (b"a STARTTLS", b"a OK")), rb"a (NO|BAD)|\* BYE"),  # RFC 9051
    "pop3": _Dialogue(((None, rb"\+OK"), (b"STLS", rb"\+OK")), b"-ERR"),  # RFC 2595
    "ftp": _Dialogue(((None, b"220( |$)"), (b"AUTH TLS", b"234( |$)")), b"[45]"),  # RFC 4217
}
"""The protocols that begin without TLS."""

BY_PORT: Final = {25: "smtp", 587: "smtp", 143: "imap", 110: "pop3", 21: "ftp"}
"""Those that are meant where nothing is said."""


@dataclass(frozen=True, slots=True)
class Presented:
    """``der``: the server's certificate, None if it gave none; ``problem``: why that is so, or why it would not be trusted."""

    der: bytes | None
    problem: str | None


def trusting(ca: str | None) -> ssl.SSLContext:
    """What a careful client trusts: the certificate authorities of the system, and beside them those in the file ``ca``."""
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError:
            raise InputError(f"--ca {ca}: no certificate in it") from None
        except OSError as error:
            raise InputError(f"--ca {ca}: {os.strerror(error.errno or 0)}") from None
    return context


def protocol_of(address: Address, starttls: str | None) -> str | None:
    """The protocol that is spoken before TLS; None: TLS from the beginning. Raises UsageError."""
    if starttls is None:
        return BY_PORT.get(address.port)
    if starttls not in (*STARTTLS, "none"):
        raise UsageError(f"--starttls {starttls}: expected {', '.join(STARTTLS)} or none")
    return None if starttls == "none" else starttls


def presented(address: Address, name: str, *, trusted: ssl.SSLContext, protocol: str | None, timeout: float) -> Presented:
    """Shake hands as a careful client; if the certificate is not trusted, once more to see it. ``name``: whom it should be of;
    ``timeout``: seconds for each of the two."""
    try:
        with _handshake(address, name, trusted, protocol, timeout) as connection:
            return Presented(connection.getpeercert(binary_form=True), None)
    except (OSError, ValueError) as error:  # ValueError: a name that no host can have, such as one with an empty label
        problem = _why(error, timeout)
        if not isinstance(error, ssl.SSLError):  # nobody is there, or says nothing
            return Presented(None, problem)
    try:
        with _handshake(address, name, _careless(), protocol, timeout) as connection:
            return Presented(connection.getpeercert(binary_form=True), problem)
    except (OSError, ValueError):
        return Presented(None, problem)


def _careless() -> ssl.SSLContext:
    """Takes any certificate, key and version: nothing is sent over such a connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@contextmanager
def _handshake(
    address: Address, name: str, context: ssl.SSLContext, protocol: str | None, timeout: float
) -> Iterator[ssl.SSLSocket]:
    """Until the handshake is over, all together at most ``timeout`` seconds; then the connection is closed."""
    deadline = time.monotonic() + timeout
    with socket.create_connection((address.host, address.port), timeout) as plain:
        if protocol is not None:
            _begin_tls(plain, protocol, deadline)
        plain.settimeout(_left(deadline))
        with context.wrap_socket(plain, server_hostname=name) as connection:
            yield connection


def _begin_tls(plain: socket.socket, protocol: str, deadline: float) -> None:
    """Ask the server to change to TLS. Raises OSError if it does not."""
    dialogue = STARTTLS[protocol]
    for ask, agrees in dialogue.steps:
        if ask is not None:
            plain.sendall(ask + b"\r\n")
        for line in _lines(plain, deadline):
            if re.match(agrees, line, re.IGNORECASE):
                break
            if re.match(dialogue.refuses, line, re.IGNORECASE):
                raise OSError(f"no TLS by {protocol}: {one_line(line, 60)}")
        else:
            raise OSError(f"no TLS by {protocol}: the connection was closed")


def _lines(plain: socket.socket, deadline: float) -> Iterator[bytes]:
    """Lines that the server sends. Byte by byte, because what follows the last of them belongs to TLS."""
    line, count = bytearray(), 0
    while count < _MOST:
        plain.settimeout(_left(deadline))
        byte = plain.recv(1)
        if not byte:
            return
        count += 1
        if byte == b"\n":
            yield bytes(line).rstrip(b"\r")
            line.clear()
        else:
            line += byte


def _left(deadline: float) -> float:
    """Seconds until then. Raises TimeoutError when none are left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _why(error: OSError | ValueError, timeout: float) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "not for this name" if error.verify_code in _HOSTNAME_MISMATCH else error.verify_message
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, socket.gaierror):
        return f"unknown host ({error.strerror})"
    if isinstance(error, ssl.SSLEOFError):
        return "no TLS: the connection was closed"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, ValueError):
        return "not a host name"
    return os.strerror(error.errno).lower() if error.errno else str(error)
