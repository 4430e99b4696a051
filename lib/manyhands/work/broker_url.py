"""The address of a broker: parsed, checked and without its password, which is neither shown nor stored.

    redis://[user[:password]@]host[:port][/db]    rediss://... (TLS, verified)    unix:///path/to/socket[?db=1]

Separate from the backends, because a mistake in it is found before anything runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name, switch_name
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass

PASSWORD: Final = "MH_BROKER_PASSWORD"  # noqa: S105 - the name of the variable
"""The environment variable from which a broker's password is taken."""
_SCHEMES: Final = ("redis", "rediss", "unix")
_PORT: Final = 6379
_PARAMETERS: Final = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_LARGEST: Final = 4096
_SHORTEST: Final = 0.5
"""Seconds of a lease at least."""


class Password(str):
    """A text that no message shows by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Where a broker is. ``host`` is empty for a unix socket, whose place is ``path``; ``url`` has no password."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    db: int
    user: str | None
    files: Mapping[str, str]
    """Of TLS: ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``."""
    password: Password | None = None

    @classmethod
    def parse(
        cls,
        text: str,
        environ: Mapping[str, str],
        *,
        password_file: str | os.PathLike[str] | None = None,
        insecure: bool = False,
    ) -> BrokerUrl:
        """Read an address; the password is that in it, of the file, or of the environment. Raises UsageError."""
        if "@" in text and not re.match(r"[a-z+]+://[^@/]*@[^@]*\Z", text):
            raise _mistake(text, "a user or password with one of @ / : needs percent escapes, such as %40")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise _mistake(text, str(error)) from None
        if parts.scheme not in _SCHEMES:
            raise _mistake(text, "expected redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH")
        parameters = dict(parse_qsl(parts.query))
        if unknown := parameters.keys() - _PARAMETERS:
            raise _mistake(text, f"it has an unknown parameter, {min(unknown)}")
        password = None if parts.password is None else unquote(parts.password)
        if password is None:
            password = _from_file(password_file) if password_file is not None else environ.get(PASSWORD)
        found = cls(
            url=_shown(parts),
            scheme=parts.scheme,
            host="" if parts.scheme == "unix" else parts.hostname or "127.0.0.1",
            port=port or _PORT,
            path=unquote(parts.path) if parts.scheme == "unix" else "",
            db=_db(text, parts, parameters),
            user=unquote(parts.username) if parts.username else None,
            files={name: value for name, value in parameters.items() if name != "db"},
            password=None if password is None else Password(password),
        )
        found._check(text, insecure=insecure)
        return found

    def _check(self, text: str, *, insecure: bool) -> None:
        if self.scheme == "unix" and not self.path:
            raise _mistake(text, "it names no socket: unix:///PATH")
        if self.files and self.scheme != "rediss":
            raise _mistake(text, f"{min(self.files)} is for rediss://")
        if self.scheme == "redis" and not insecure and not _is_loopback(self.host):
            raise _mistake(
                text,
                "its connection would not be encrypted: use rediss://, or a tunnel; "
                f"{switch_name('--insecure')} allows it in a network that you trust",
            )


def _shown(parts: SplitResult) -> str:
    """The address without its password."""
    user, at, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}@{place}" if at and name else place))


def _db(text: str, parts: SplitResult, parameters: Mapping[str, str]) -> int:
    name = parameters.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "") or "0"
    if not name.isascii() or not name.isdigit():
        raise _mistake(text, "its database is no number")
    return int(name)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _from_file(path: str | os.PathLike[str]) -> str:
    """The first line of a file. Raises UsageError."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.readline(_LARGEST).rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"{given_as('--broker-password-file', os.fspath(path))}: {why}") from None


def _mistake(text: str, why: str) -> UsageError:
    """An error that shows the address, without what may be its password."""
    return UsageError(f"{given_as('--broker', repr(masked_url(text)))}: {why}")


def masked_url(text: str) -> str:
    """An address, perhaps a wrong one, without what may be a password."""
    return re.sub(r"^([^:]*:/*)[^@:]*:.*@|^([^:]*:/*).*@.*@", lambda found: f"{found[1] or found[2]}***@", text)


def parse_lease(text: float | str) -> float:
    """The seconds of a lease. Raises UsageError."""
    seconds = parse_duration(text, "--lease")
    if seconds < _SHORTEST:
        raise UsageError(f"{given_as('--lease', text)}: at least {_SHORTEST:g} s are needed")
    return seconds


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker of a run, and how it is used. ``lease``: seconds without a sign of life of the batch after which consumers stop its jobs."""

    url: BrokerUrl
    lease: float
    insecure: bool = False
    password_file: str | None = None

    @classmethod
    def of(
        cls,
        url: str,
        environ: Mapping[str, str],
        *,
        lease: float | str,
        insecure: bool,
        password_file: str | os.PathLike[str] | None,
    ) -> Broker:
        """Check what was given. Raises UsageError."""
        seconds = parse_lease(lease)
        path = None if password_file is None else os.path.abspath(password_file)
        parsed = BrokerUrl.parse(url, environ, password_file=path, insecure=insecure)
        return cls(parsed, seconds, insecure, path)

    def to_json(self) -> dict[str, Any]:
        """Without the password."""
        return {
            "url": self.url.url,
            "lease": self.lease,
            "insecure": self.insecure,
            "password_file": self.password_file,
            "password": self.url.password is not None,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], environ: Mapping[str, str]) -> Broker:
        """The inverse; the password is that of the file or of the environment. Raises UsageError if there is none."""
        found = cls.of(
            record["url"],
            environ,
            lease=record["lease"],
            insecure=record["insecure"],
            password_file=record["password_file"],
        )
        if record["password"] and found.url.password is None:
            raise UsageError(f"the broker's password is not stored: set {PASSWORD} in the environment to continue")
        return found


def check_broker(broker: str | None, backends: Sequence[str]) -> str:
    """The address. Raises UsageError if one of the two is given without the other."""
    if broker is None:
        raise UsageError(
            f"{given_as('--backend', 'redis')} needs a broker: give {option_name('--broker')} redis://HOST:PORT/DB"
        )
    if "redis" not in backends:
        raise UsageError(f"{option_name('--broker')} has no effect without {given_as('--backend', 'redis')}")
    return broker
