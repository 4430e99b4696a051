"""What can be said of a queue: which broker, and what its consumers do."""

from __future__ import annotations

import os
from collections.abc import Sequence

from manyhands.options.common import Json
from manyhands.options.declaration import Options, option


class BrokerAccess(Options):
    """How a broker is reached, beside its address."""

    broker_password_file: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        help="the broker's password is the first line of this file (default: $MH_BROKER_PASSWORD)",
    )
    insecure: bool = option(
        False, help="allow a connection that is not encrypted to another machine (redis://HOST, amqp://HOST)"
    )
    lease: float | str = option(
        60.0,
        metavar="TIME",
        help="without a sign of life for this time, the consumer and its jobs count as lost (default: 60)",
    )


class BrokerOptions(BrokerAccess):
    """Which broker."""

    broker: str | None = option(
        None,
        metavar="URL",
        help="the broker: redis://HOST:PORT/DB, rediss://... (TLS), unix:///PATH; for celery also amqp://HOST:PORT/VHOST, amqps://... (default: redis://127.0.0.1:6379/0)",
    )
    backend: str = option("redis", help="what carries the attempts: redis (Streams), celery or rq (default: redis)")
    store: str | None = option(
        None,
        metavar="URL",
        help="with celery or rq: the Redis server that keeps results, claims and leases; required with amqp://, else the broker",
    )


class WorkOptions(BrokerOptions):
    """What ``queue.work`` takes."""

    slots: int | None = option(None, help="do up to N jobs at once (default: one for each usable core)")
    allow: Sequence[str] = option(
        (),
        metavar="PATTERN",
        help="call functions whose names, MODULE:FUNCTION, match, such as 'images:*'; repeatable",
    )
    allow_commands: bool = option(
        False, help="run commands, too: whoever can write to the broker can then run anything here"
    )


class StatusOptions(Json, BrokerOptions):
    """What ``queue.status`` takes."""


class DrainOptions(BrokerOptions):
    """What ``queue.drain`` takes."""

    consumers: Sequence[str] = option(
        (), positional=True, metavar="CONSUMER", help="their names or the beginnings of them (default: all)"
    )


class PurgeOptions(BrokerOptions):
    """What ``queue.purge`` takes."""

    runs: Sequence[str] = option(
        (), positional=True, metavar="RUN", help="the runs, as queue.status names them, or the beginnings (default: all)"
    )
    dry_run: bool = option(False, short="n", help="show what would be removed, and remove nothing")
    yes: bool = option(False, short="y", help="do not ask (required without a terminal)")
