"""Spares the program most work on memory: garbage is looked for seldom, and nothing is taken apart at the end.

Python's end, which frees all modules and what they hold piece by piece, takes as long as a small batch. Here threads are waited for,
functions of `atexit` called and standard streams flushed, in Python's order, and memory is left to the operating system. So are
files that nobody has closed, which Python would write out when it frees them. Ours are closed; where a user's code may have such
files, or somebody watches Python itself, the program ends in the usual way.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from typing import Final

_OBJECTS: Final = 30_000
"""New objects between two collections of garbage. A start makes 22,000, which stay; Python would look through them 45 times."""


class _Usual:
    wanted = False


def collect_seldom() -> None:
    """Let Python look for garbage when there may be some."""
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


def keep_usual_exit() -> None:
    """Let this process end in Python's usual way: it has imported code that is not ours."""
    _Usual.wanted = True


def leave(status: object) -> None:
    """End the process with what `sys.exit` was given; returns, for the usual way, if that is to be taken."""
    if _Usual.wanted or not isinstance(status, int | None) or _is_watched():
        return
    threading._shutdown()  # type: ignore[attr-defined]  # as Py_FinalizeEx does first, so that functions of atexit find no thread
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python complains of it in its own way, and exits with 120
        gc.freeze()
        return
    os._exit(status or 0)


def _is_watched() -> bool:
    """Whether a debugger, a profiler or an interactive session waits for the end of the program in this process."""
    tools = getattr(sys, "monitoring", None)  # since Python 3.12
    return bool(
        sys.gettrace()
        or sys.getprofile()
        or sys.flags.interactive
        or sys.flags.inspect
        or (tools and any(tools.get_tool(number) for number in range(6)))
    )
