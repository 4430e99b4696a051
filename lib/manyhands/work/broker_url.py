"""The address of a broker: parsed, checked and without its password, which is neither shown nor stored.

    redis://[user[:password]@]host[:port][/db]    rediss://... (TLS, verified)    unix:///path/to/socket[?db=1]
    amqp://[user[:password]@]host[:port][/vhost]  amqps://... (TLS, verified)     for Celery only

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
from manyhands.work.queue_kinds import QUEUES

PASSWORD: Final = "MH_BROKER_PASSWORD"  # noqa: S105 - the name of the variable
"""The environment variable from which a broker's password is taken."""
STORE_PASSWORD: Final = "MH_STORE_PASSWORD"  # noqa: S105 - the name of the variable
"""The same for the store beside a broker."""
_REDIS: Final = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH"
_PORTS: Final = {"redis": 6379, "rediss": 6379, "unix": 0, "amqp": 5672, "amqps": 5671}
_AMQP: Final = ("amqp", "amqps")
_FILES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_VISIBILITY: Final = "visibility_timeout"
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
    """Where a broker is. ``host`` is empty for a unix socket, whose place is ``path``; ``url`` has no password.

    ``path`` is the virtual host with AMQP, "/" if none is named.
    """

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
    visibility: int = 3600
    """Seconds after which Celery on Redis delivers a message once more that is not acknowledged."""

    @property
    def is_amqp(self) -> bool:
        """Whether it is RabbitMQ, or another broker that speaks AMQP."""
        return self.scheme in _AMQP

    @classmethod
    def parse(
        cls,
        text: str,
        environ: Mapping[str, str],
        *,
        password_file: str | os.PathLike[str] | None = None,
        insecure: bool = False,
        celery: bool = False,
        variable: str = PASSWORD,
        option: str = "--broker",
    ) -> BrokerUrl:
        """Read an address; the password is that in it, of the file, or of the environment's ``variable``. Raises UsageError.

        ``celery``: it is for Celery, which has more kinds of brokers.
        """
        try:
            return cls._parsed(text, environ.get(variable), password_file, insecure=insecure, celery=celery)
        except _WrongError as error:
            raise UsageError(f"{given_as(option, repr(masked_url(text)))}: {error}") from None

    @classmethod
    def _parsed(
        cls, text: str, word: str | None, file: str | os.PathLike[str] | None, *, insecure: bool, celery: bool
    ) -> BrokerUrl:
        if "@" in text and not re.match(r"[a-z+]+://[^@/]*@[^@]*\Z", text):
            raise _WrongError("a user or password with one of @ / : needs percent escapes, such as %40")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise _WrongError(str(error)) from None
        amqp = parts.scheme in _AMQP
        if parts.scheme not in _PORTS or (amqp and not celery):
            raise _WrongError(f"expected {'amqp://HOST:PORT/VHOST, amqps://..., ' if celery else ''}{_REDIS}")
        parameters = dict(parse_qsl(parts.query))
        if unknown := parameters.keys() - _FILES - _extra(celery=celery, amqp=amqp):
            raise _WrongError(f"it has an unknown parameter, {min(unknown)}")
        password = None if parts.password is None else unquote(parts.password)
        if password is None:
            password = _from_file(file) if file is not None else word
        found = cls(
            url=_shown(parts),
            scheme=parts.scheme,
            host="" if parts.scheme == "unix" else parts.hostname or "127.0.0.1",
            port=port or _PORTS[parts.scheme],
            path=unquote(parts.path) if parts.scheme == "unix" else (unquote(parts.path[1:]) or "/") if amqp else "",
            db=0 if amqp else _db(parts, parameters),
            user=unquote(parts.username) if parts.username else None,
            files={name: value for name, value in parameters.items() if name in _FILES},
            password=None if password is None else Password(password),
            visibility=_visibility(parameters.get(_VISIBILITY, "3600")),
        )
        found._check(insecure=insecure)
        return found

    def _check(self, *, insecure: bool) -> None:
        secure = {"redis": "rediss", "amqp": "amqps"}.get(self.scheme)
        if self.scheme == "unix" and not self.path:
            raise _WrongError("it names no socket: unix:///PATH")
        if self.files and self.scheme not in ("rediss", "amqps"):
            raise _WrongError(f"{min(self.files)} is for rediss:// and amqps://")
        if secure and not insecure and not _is_loopback(self.host):
            raise _WrongError(
                f"its connection would not be encrypted: use {secure}://, or a tunnel; "
                f"{switch_name('--insecure')} allows it in a network that you trust"
            )


class _WrongError(Exception):
    """What is wrong with an address."""


def _extra(*, celery: bool, amqp: bool) -> set[str]:
    """The parameters that an address may have, beside the files of TLS."""
    return set() if amqp else {"db", _VISIBILITY} if celery else {"db"}


def _visibility(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise _WrongError(f"its {_VISIBILITY} is no number of seconds")
    return int(text)


def _shown(parts: SplitResult) -> str:
    """The address without its password."""
    user, at, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}@{place}" if at and name else place))


def _db(parts: SplitResult, parameters: Mapping[str, str]) -> int:
    name = parameters.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "") or "0"
    if not name.isascii() or not name.isdigit():
        raise _WrongError("its database is no number")
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
    """The broker of a run, and how it is used. ``lease``: seconds without a sign of life of the batch after which consumers stop its jobs.

    ``kind``: the backend. ``store``: the Redis server that has all but the attempts that wait, if it is another than the broker.
    """

    url: BrokerUrl
    lease: float
    insecure: bool = False
    password_file: str | None = None
    kind: str = "redis"
    store: BrokerUrl | None = None

    @classmethod
    def of(
        cls,
        url: str,
        environ: Mapping[str, str],
        *,
        lease: float | str,
        insecure: bool,
        password_file: str | os.PathLike[str] | None,
        kind: str = "redis",
        store: str | None = None,
    ) -> Broker:
        """Check what was given. Raises UsageError."""
        seconds = parse_lease(lease)
        path = None if password_file is None else os.path.abspath(password_file)
        parsed = BrokerUrl.parse(url, environ, password_file=path, insecure=insecure, celery=kind == "celery")
        kept = _store(parsed, kind, store, environ, insecure=insecure)
        return cls(parsed, seconds, insecure, path, kind, kept)

    def to_json(self) -> dict[str, Any]:
        """Without the passwords."""
        return {
            "url": self.url.url,
            "lease": self.lease,
            "insecure": self.insecure,
            "password_file": self.password_file,
            "password": self.url.password is not None,
            "kind": self.kind,
            **({"store": self.store.url, "store_password": self.store.password is not None} if self.store else {}),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], environ: Mapping[str, str]) -> Broker:
        """The inverse; the passwords are those of the file or of the environment. Raises UsageError if there is none."""
        found = cls.of(
            record["url"],
            environ,
            lease=record["lease"],
            insecure=record["insecure"],
            password_file=record["password_file"],
            kind=record.get("kind", "redis"),
            store=record.get("store"),
        )
        if record["password"] and found.url.password is None:
            raise _not_stored("broker", PASSWORD)
        if record.get("store_password") and found.store is not None and found.store.password is None:
            raise _not_stored("store", STORE_PASSWORD)
        return found


def _not_stored(whose: str, variable: str) -> UsageError:
    return UsageError(f"the {whose}'s password is not stored: set {variable} in the environment to continue")


def _store(
    broker: BrokerUrl, kind: str, store: str | None, environ: Mapping[str, str], *, insecure: bool
) -> BrokerUrl | None:
    """The address of the store. Raises UsageError if there must be one, or must be none."""
    if store is not None and kind == "redis":
        raise UsageError(
            f"{given_as('--store', repr(masked_url(store)))}: with {given_as('--backend', kind)} the broker is the store"
        )
    if store is not None:
        return BrokerUrl.parse(store, environ, insecure=insecure, variable=STORE_PASSWORD, option="--store")
    if broker.is_amqp:
        raise UsageError(
            f"{given_as('--broker', repr(broker.url))}: results outlive the batch, and this broker cannot keep them: "
            f"name a store by {option_name('--store')} redis://HOST:PORT/DB"
        )
    return None


def check_broker(broker: str | None, backends: Sequence[str]) -> tuple[str, str]:
    """(the address, the backend that it is for). Raises UsageError if one of the two is given without the other."""
    kinds = [one for one in QUEUES if one in backends]
    if not kinds:
        raise UsageError(
            f"{option_name('--broker')} has no effect without {given_as('--backend', 'redis')}, celery or rq"
        )
    if len(kinds) > 1:
        raise UsageError(f"{given_as('--backend', ','.join(kinds))}: a run has one broker, and so one of them")
    if broker is None:
        place = "amqp" if kinds[0] == "celery" else "redis"
        raise UsageError(
            f"{given_as('--backend', kinds[0])} needs a broker: give {option_name('--broker')} {place}://HOST:PORT/..."
        )
    return broker, kinds[0]
