"""The backends whose jobs are done elsewhere, by name; apart from the rest of them, which most runs need not import."""

from __future__ import annotations

from typing import Final

QUEUES: Final = ("redis", "celery", "rq")


def is_queue(backend: str) -> bool:
    """Whether consumers do the jobs."""
    return backend in QUEUES


def is_elsewhere(backend: str) -> bool:
    """Whether consumers of a queue or workers of a cluster do the jobs."""
    return is_queue(backend) or backend == "dask"


def any_elsewhere(backends: str) -> bool:
    """Whether one of several, with commas between them, is of that kind."""
    return any(is_elsewhere(one) for one in backends.split(","))
