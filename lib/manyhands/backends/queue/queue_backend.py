"""The backends ``redis``, ``celery`` and ``rq``: the coordinator of a queue, put together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing

from manyhands.backends.queue.brokers import attempt_queue
from manyhands.backends.queue.collector import Collector
from manyhands.backends.queue.coordinator import Queued
from manyhands.backends.queue.fed_sender import FedSender
from manyhands.backends.queue.keys import keys_for
from manyhands.backends.queue.lasting_sender import LastingSender
from manyhands.backends.queue.left_behind import LeftBehind
from manyhands.backends.queue.redis_sender import RedisSender
from manyhands.backends.queue.run_settings import described
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name


def open_queue(kind: str, settings: CommandSettings | FunctionSettings) -> Queued:
    """The backend, ready for attempts. Raises UsageError, or UnavailableError if the broker cannot be used."""
    if settings.broker is None:
        raise UsageError(f"{given_as('--backend', kind)} needs a broker: give {option_name('--broker')}")
    sender = lasting_sender(settings) if settings.submitted else _sender(kind, settings)
    try:
        return Collector(kind, settings, sender) if isinstance(sender, LastingSender) else Queued(kind, settings, sender)
    except BaseException:
        sender.close()
        raise


def lasting_sender(settings: CommandSettings | FunctionSettings) -> LastingSender:
    """For an execution that goes on without us; not opened."""
    broker, submitted = settings.broker, settings.submitted
    assert broker is not None and submitted is not None  # noqa: S101 - for mypy
    token, lease = settings.token, settings.lease
    return LastingSender(broker, submitted.name, described(settings), token, lease, keep=submitted.keep)


def left_behind(kind: str, settings: CommandSettings | FunctionSettings) -> Iterator[LeftBehind]:
    """What killed coordinators of the run have left in the broker, one execution after another. Raises UnavailableError."""
    with closing(_sender(kind, settings)) as finder:
        names = finder.earlier()
    for name in names:
        with closing(_sender(kind, settings, name)) as sender:
            yield LeftBehind(sender, settings.outputs)


def _sender(kind: str, settings: CommandSettings | FunctionSettings, name: str = "") -> RedisSender:
    """For an execution called so, or for a new one."""
    broker = settings.broker
    assert broker is not None  # noqa: S101 - for mypy
    store = settings.store or broker
    given = (
        store,
        name or fresh_name(settings.environment),
        described(settings),
        settings.token,
        settings.lease,
        keys_for(kind),
    )
    if kind == "redis":
        return RedisSender(*given)
    function = settings.call.text if isinstance(settings, FunctionSettings) else ""
    return FedSender(broker, attempt_queue(kind, broker), *given, function=function)


def fresh_name(environment: Mapping[bytes, bytes]) -> str:
    """RUN-RANDOM: readable, and unlike that of any other execution, also of the same run, and on other machines."""
    run = os.fsdecode(environment.get(b"MH_RUN", b"run"))
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', run)[:200]}-{os.urandom(4).hex()}"
