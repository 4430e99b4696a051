"""Which hosts answer, and how fast: TCP connections, which need no privileges."""

from __future__ import annotations

import os
import socket
import statistics
import time
from functools import partial
from typing import Final

from manyhands.admin.addresses import Address, address_of
from manyhands.admin.each import each, targets_of
from manyhands.admin.report import report
from manyhands.core.errors import UsageError
from manyhands.core.level import Level
from manyhands.core.limits import parse_duration
from manyhands.core.records import dataclass
from manyhands.options.admin import ReachOptions

_PAUSE: Final = 0.05
"""Seconds between two connections to one host."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How one host answers. ``address``: the numeric one that was tried; ``seconds``: the median of the connections."""

    host: str
    port: int
    address: str | None
    seconds: float | None
    tries: int
    failed: int
    problem: str | None
    level: Level


def reach(options: ReachOptions) -> int:
    """Connect to each host, and print which answer."""
    targets = [address_of(text, options.port) for text in targets_of(options.hosts, options.file)]
    if not targets:
        raise UsageError("no host is given: admin.reach HOST:PORT ..., or --file FILE")
    if options.tries < 1:
        raise UsageError(f"--tries {options.tries}: expected 1 or more")
    warn = None if options.warn is None else parse_duration(options.warn, "--warn")
    look = partial(connect, tries=options.tries, timeout=parse_duration(options.timeout, "--timeout"), warn=warn)
    rows = [outcome.value for outcome in each(look, targets, jobs=options.jobs)]
    silent = sum(row.seconds is None for row in rows)
    slow = sum(row.level is Level.WARNING for row in rows)
    return report(
        rows,
        schema="reach",
        summary=f"{len(rows) - silent} of {len(rows)} answer{f', {slow} of them slowly or not always' if slow else ''}",
        header=("host", "ms", "failed", "problem"),
        cells=lambda row: (
            Address(row.host, row.port),
            "" if row.seconds is None else f"{1000 * row.seconds:.1f}",
            f"{row.failed}/{row.tries}",
            row.problem or "",
        ),
        right=("ms", "failed"),
        json=options.json,
    )


def connect(target: Address, *, tries: int, timeout: float, warn: float | None) -> Reached:
    """Connect so many times, one after another, each for at most ``timeout`` seconds, and close at once."""
    try:
        where = str(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        why = f"unknown host: {getattr(error, 'strerror', None) or 'not a name'}"
        return Reached(target.host, target.port, None, None, tries, tries, why, Level.CRITICAL)
    seconds: list[float] = []
    problem = None
    for number in range(tries):
        if number:
            time.sleep(_PAUSE)
        began = time.perf_counter()
        try:
            with socket.create_connection((target.host, target.port), timeout) as connection:
                seconds.append(time.perf_counter() - began)
                where = connection.getpeername()[0]
        except OSError as error:
            problem = _why(error, timeout)
    median = statistics.median(seconds) if seconds else None
    level = _level(median, problem, warn)
    return Reached(target.host, target.port, where, median, tries, tries - len(seconds), problem, level)


def _level(median: float | None, problem: str | None, warn: float | None) -> Level:
    if median is None:
        return Level.CRITICAL
    return Level.WARNING if problem or (warn is not None and median > warn) else Level.OK


def _why(error: OSError, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    return os.strerror(error.errno).lower() if error.errno else str(error)
