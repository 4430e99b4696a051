"""What has to be closed when the program ends, while Python still works, and before multiprocessing waits for its processes.

An iterator that is kept is only closed when modules are taken apart, when nothing can be ended properly any more. And
multiprocessing joins its processes at exit: it would wait for ever for workers whose batch nobody ends. Functions of atexit are called
in the reverse order of their registration, so ours is registered after that of multiprocessing.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from typing import Final, Protocol


class Closable(Protocol):
    """What can be closed, twice."""

    def close(self) -> None:
        """Leave nothing running."""


_open: Final[weakref.WeakSet[Closable]] = weakref.WeakSet()


def close_at_exit(one: Closable) -> None:
    """Close it when the program ends, unless it is gone by then."""
    if (
        "multiprocessing" in sys.modules
    ):  # it registers itself when this is first imported, which may not have happened yet
        import multiprocessing.util  # noqa: F401
    _open.add(one)
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _close_all() -> None:
    for one in list(_open):
        one.close()
