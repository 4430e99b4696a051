"""Backends that have processes are closed when the program ends, while Python still works: whatever the program still holds.

An iterator that is kept is only closed when modules are taken apart, and then nothing can be ended properly any more.
"""

from __future__ import annotations

import atexit
import weakref
from typing import Final, Protocol


class Closable(Protocol):
    """What can be closed, twice."""

    def close(self) -> None:
        """Leave nothing running."""


_open: Final[weakref.WeakSet[Closable]] = weakref.WeakSet()


def close_at_exit(backend: Closable) -> None:
    """Close it when the program ends, unless it is gone by then."""
    _open.add(backend)


@atexit.register  # after multiprocessing's own, which is imported first: so this is called before it
def _close_all() -> None:
    for one in list(_open):
        one.close()
