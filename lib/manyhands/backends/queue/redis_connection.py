"""The connection to Redis: made from a `BrokerUrl`, its errors as ours. The only module that imports the package ``redis``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from manyhands.backends.queue.carrier import BrokerLostError, GoneError
from manyhands.core.errors import UnavailableError
from manyhands.work.broker_url import BrokerUrl

_CONNECTING: Final = 5.0
"""Seconds to wait for a connection at most."""
_ANSWERING: Final = 10.0
"""Seconds to wait for an answer, if nothing shorter is needed; no command waits so long on purpose."""


def client(url: BrokerUrl, patience: float = _ANSWERING) -> Any:
    """A client; it connects when it is first used. One for all threads. ``patience``: seconds to wait for an answer."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    shared: dict[str, Any] = {
        "db": url.db,
        "username": url.user,
        "password": url.password,
        "socket_timeout": patience,
        "retry": Retry(NoBackoff(), 0),  # who calls us tries again
        "protocol": 2,
        "client_name": "manyhands",
    }
    if url.scheme == "unix":
        return redis.Redis(unix_socket_path=url.path, **shared)
    shared |= {
        "host": url.host,
        "port": url.port,
        "socket_connect_timeout": min(_CONNECTING, patience),
        "socket_keepalive": True,
    }
    if url.scheme == "rediss":
        shared |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **url.files}
    return redis.Redis(**shared)


@contextmanager
def our_errors() -> Iterator[None]:
    """Errors of the package become `BrokerLostError`, or `GoneError`."""
    from redis.exceptions import RedisError, ResponseError

    try:
        yield
    except ResponseError as error:
        said = str(error)
        if said.startswith(("NOGROUP", "UNBLOCKED")) or "WRONGTYPE" in said or "no such key" in said:
            raise GoneError(said) from None
        raise BrokerLostError(_one_line(error)) from None
    except (RedisError, OSError) as error:
        raise BrokerLostError(_one_line(error)) from None


def reached(url: BrokerUrl, use: Callable[[], object]) -> None:
    """Do ``use``, the first thing that is asked of a broker. Raises UnavailableError with one line if it does not answer as it must."""
    try:
        use()
    except BrokerLostError as error:
        raise UnavailableError(f"the broker {url.url} cannot be used: {error}") from None


def streams(answer: Any) -> Iterator[tuple[str, list[tuple[bytes, dict[bytes, bytes]]]]]:
    """(the key of a stream, its entries) from what XREAD and XREADGROUP give."""
    for key, entries in answer or ():
        yield key.decode(), [(entry, fields or {}) for entry, fields in entries]


def texts(values: Iterable[bytes]) -> set[str]:
    """Members of a set as text; what is no text was not put there by us."""
    found = set()
    for one in values:
        try:
            found.add(one.decode())
        except UnicodeDecodeError:
            continue
    return found


def number_of(entry: bytes) -> tuple[int, ...]:
    """The id of an entry, MILLISECONDS-NUMBER, as it is ordered."""
    first, _, second = entry.partition(b"-")
    return int(first), int(second or 0)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
