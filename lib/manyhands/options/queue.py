"""What can be said of a queue: which broker, and what its consumers do."""

from __future__ import annotations

import os
from collections.abc import Sequence

from manyhands.options.batch import Called, Grouping, Inputs, Surroundings, Variables
from manyhands.options.common import Json, State
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


class Submitting(Inputs, Surroundings, Grouping, Variables, BrokerAccess, State):
    """What can be honoured of a batch while nobody is there."""

    nice: int = option(0, after="env", help="lower the jobs' priority by N (nice(1))")
    grace: float | str = option(
        5.0, metavar="TIME", help="seconds between TERM and KILL when a job is stopped (default: 5)"
    )
    output_cap: int | str = option(
        "1M",
        metavar="SIZE",
        help="keep at most SIZE bytes of each stream of a job, in the broker's memory until they are collected (64k, 10M; default: 1M)",
    )
    retries: int = option(
        0, help="retry a failed job up to N times, when the run is collected and the failure is known (default: 0)"
    )
    retry_on: str | None = option(
        None,
        metavar="WHAT",
        help="retry only after these failures, separated by commas: exit statuses (75, 1-9), lost, signal, SIGSEGV; default: after every failure",
    )
    broker: str | None = option(
        None, metavar="URL", help="the broker: redis://HOST:PORT/DB, rediss://... (TLS) or unix:///PATH (required)"
    )
    backend: str = option("redis", help="what carries the attempts: only redis (Streams) keeps a run without its batch")
    lease: float | str = option(
        60.0,
        metavar="TIME",
        help="when the run is collected, a consumer that has gone without a word has lost its jobs after half of this time (default: 60)",
    )
    keep_in_broker: float | str = option(
        "7d",
        metavar="TIME",
        help="what waits, runs and has ended is kept in the broker so long after this, or after batch.resume (1m to 90d; default: 7d)",
    )
    run_id: str | None = option(None, metavar="NAME", help="name the run, which must be new")
    keep: float | str = option(
        "90d", help="how long to keep unnamed runs in which every job succeeded: 30d, or forever (default: 90d)"
    )
    dry_run: bool = option(False, help="print what would be run and run nothing")
    quiet: bool = option(False, help="print nothing about runs that were removed")


class SubmitOptions(Submitting):
    """What ``queue.submit`` takes."""

    template: str | None = option(
        None,
        positional=True,
        help="the command, as for batch: {} is the input; no placeholder: the input is appended",
    )
    commands: str | None = option(
        None,
        metavar="FILE",
        help="each line of this file (-: standard input) is a whole command, as for batch",
    )
    shell: bool = option(False, help="run the template in $SHELL (or bash); every input is quoted for it")
    stdin: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        after="env",
        help="give every command this file there as its standard input (default: nothing)",
    )


class SubmitCallOptions(Called, Submitting):
    """What ``queue.submit-call`` takes."""
