"""The backends that have a broker, by name; apart from the rest of it, which most runs need not import."""

from __future__ import annotations

from typing import Final

QUEUES: Final = ("redis", "celery", "rq")


def is_queue(backend: str) -> bool:
    """Whether consumers do the jobs."""
    return backend in QUEUES


def has_queue(backends: str) -> bool:
    """Whether one of several, with commas between them, is a queue."""
    return any(is_queue(one) for one in backends.split(","))
