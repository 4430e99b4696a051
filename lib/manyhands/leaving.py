"""What has to be ended when the program ends, before multiprocessing waits for its processes.

multiprocessing joins its processes at exit, and would wait for ever for workers whose batch nobody ends. Functions of atexit are
called in the reverse order of their registration, so ours has to be registered after that of multiprocessing.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Final

_closers: Final[dict[int, Callable[[], None]]] = {}


def at_exit(key: object, close: Callable[[], None]) -> None:
    """Call ``close`` at exit, unless `done` comes first; it must not fail, and may be called in addition to other calls of it."""
    if (
        "multiprocessing" in sys.modules
    ):  # it registers itself when this is first imported, which may not have happened yet
        import multiprocessing.util  # noqa: F401
    _closers[id(key)] = close
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def done(key: object) -> None:
    """What ``key`` stands for has ended."""
    _closers.pop(id(key), None)


def _close_all() -> None:
    for close in list(_closers.values()):
        close()
