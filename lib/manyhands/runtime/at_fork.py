"""Closes the files of a parent's batches in a process that was made by fork(2).

A program with a running batch may fork: gunicorn, Celery, a ProcessPoolExecutor. The child has copies of the batch's lock, pipes and
sockets; while it lives, other processes would not see the parent's ends close. So every such file is noted here, and in the child its
descriptor is redirected to the null device: objects that close it later close no other file. What has more to forget has a method for it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final, Protocol
from weakref import WeakSet


class HasDescriptor(Protocol):
    """A file, a socket or the like; if it is closed, its descriptor is negative, or a ValueError is raised."""

    def fileno(self) -> int: ...


class Abandonable(Protocol):
    """What belongs to the process that has made it."""

    def abandon(self) -> None:
        """In a forked child: close what is open, and leave everything else to the parent."""


_abandoned: Final[WeakSet[Abandonable]] = WeakSet()
_noted: Final[WeakSet[HasDescriptor]] = WeakSet()


def note(*files: HasDescriptor) -> None:
    """Note files that a forked child must not keep open."""
    _noted.update(files)


def abandon_in_child(one: Abandonable) -> None:
    """Have ``one`` abandoned in every forked child."""
    _abandoned.add(one)


def _in_child() -> None:
    for one in list(_abandoned):
        one.abandon()
    null = -1
    for file in _noted:
        with suppress(ValueError):  # it is closed
            descriptor = file.fileno()
            if descriptor >= 0:
                null = null if null >= 0 else os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(null, descriptor, inheritable=False)
    if null >= 0:
        os.close(null)
    _noted.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
