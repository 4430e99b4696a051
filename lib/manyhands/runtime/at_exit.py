"""Closes what is open when the program ends, while Python still works, and before multiprocessing waits for its processes.

An iterator that a program still holds is closed only when Python clears its modules, when nothing can be ended properly any more. And
multiprocessing joins its processes at exit: it would wait for ever for the workers of an open batch. atexit calls functions in the
reverse order of their registration, so ours is registered after that of multiprocessing.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from typing import Final, Protocol


class Closable(Protocol):
    """Something that can be closed, also twice."""

    def close(self) -> None:
        """Leave nothing running."""


_open: Final[weakref.WeakSet[Closable]] = weakref.WeakSet()


def close_at_exit(one: Closable) -> None:
    """Close ``one`` when the program ends, unless it has been deleted by then."""
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
