"""What a process that was made by fork(2) must not keep of its parent's batches.

A program with a running batch may fork: gunicorn, Celery, a ProcessPoolExecutor. The child has copies of the batch's lock, pipes and
sockets; while it lives, nobody would see the parent's ends close. So every such descriptor is noted here, and in the child
it is put on the null device: objects that close it later close nothing else.
"""

from __future__ import annotations

import os
from typing import Final

_noted: Final[set[int]] = set()


def note(*descriptors: int) -> None:
    """These are the business of this process alone."""
    _noted.update(descriptors)


def forget(*descriptors: int) -> None:
    """Call it before they are closed."""
    _noted.difference_update(descriptors)


def _in_child() -> None:
    if not _noted:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in _noted:
        os.dup2(null, descriptor, inheritable=False)
    os.close(null)
    _noted.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
