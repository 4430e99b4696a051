"""The kinds of brokers beside Redis Streams: Celery and RQ, by name. Neither package is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from manyhands.backends.queue.attempt_queue import AttemptQueue
from manyhands.backends.queue.feeder import Feeder
from manyhands.core.errors import UsageError
from manyhands.core.extras import install_line
from manyhands.core.hints import given_as
from manyhands.work.broker_url import BrokerUrl


def check_kind(kind: str) -> None:
    """Raise UsageError for a backend that is no queue, or whose package is not installed."""
    extras = {"redis": "queue", "celery": "celery", "rq": "rq"}
    if kind not in extras:
        raise UsageError(f"{given_as('--backend', repr(kind))}: a queue is one of {', '.join(extras)}")
    for package in {kind, "redis"}:
        if find_spec(package) is None:
            raise UsageError(
                f"{given_as('--backend', kind)} needs {package}, which is not installed: {install_line(extras[kind])}"
            )


def attempt_queue(kind: str, url: BrokerUrl) -> AttemptQueue:
    """Where attempts wait. Raises UsageError if a package is not installed."""
    check_kind(kind)
    if kind == "celery":
        from manyhands.backends.queue.celery_queue import CeleryQueue

        return CeleryQueue(url)
    from manyhands.backends.queue.rq_queue import RqQueue

    return RqQueue(url)


def feeder_of(kind: str, url: BrokerUrl, name: str, slots: int, say: Callable[[str], None]) -> Feeder:
    """The worker of Celery or RQ for the consumer ``name``, to be started. Raises UsageError if a package is not installed."""
    check_kind(kind)
    if kind == "celery":
        from manyhands.backends.queue.celery_app import app_settings
    else:
        from manyhands.backends.queue.rq_connection import app_settings
    given = {**app_settings(url), "kind": {"celery": "Celery", "rq": "RQ"}[kind], "name": name, "slots": slots}
    return Feeder(f"manyhands.backends.queue.{kind}_feeder", given, say)
