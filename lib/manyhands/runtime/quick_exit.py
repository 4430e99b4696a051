"""Spares the program most work on memory: garbage is looked for seldom, and nothing is taken apart at the end.

Python's end, which frees all modules and what they hold piece by piece, takes as long as a small batch. Here threads are waited for,
functions of `atexit` called and standard streams flushed, in Python's order, and memory is left to the operating system. So are
files that nobody has closed, which Python would write out when it frees them. Ours are closed. A user's module that was only imported,
because its functions are called in other processes, is cleared as Python would do it; where a user's code was called, or somebody
watches Python itself, the program ends in the usual way.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from contextlib import suppress
from io import BufferedRandom, BufferedWriter, TextIOWrapper
from types import ModuleType
from typing import Final

_OBJECTS: Final = 30_000
"""New objects between two collections of garbage. A start makes 22,000, which stay; Python would look through them 45 times."""


_NOT_THEIRS: Final = sys.stdlib_module_names | {"manyhands", "invoke"}


class _State:
    ours = False
    """The process is our program."""
    usual = False
    before: frozenset[str] | None = None
    """The modules that were there before the first of a user, if there is one."""


def collect_seldom() -> None:
    """Let Python look for garbage when there may be some."""
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    _State.ours = True


def keep_usual_exit() -> None:
    """Let this process end in Python's usual way: it calls code that is not ours."""
    _State.usual = True


def free_later() -> None:
    """Note that a user's module is about to be imported: it is cleared at the end. What is there already need not be looked through then."""
    if _State.ours and _State.before is None:
        _State.before = frozenset(sys.modules)
        gc.freeze()
        atexit.register(gc.unfreeze)  # for the usual way, in which Python frees what is garbage then


def leave(status: object) -> None:
    """End the process with what `sys.exit` was given; returns, for the usual way, if that is to be taken."""
    if _State.usual or not isinstance(status, int | None) or _is_watched():
        return
    atexit.unregister(gc.unfreeze)
    threading._shutdown()  # type: ignore[attr-defined]  # as Py_FinalizeEx does first, so that functions of atexit find no thread
    atexit._run_exitfuncs()
    if _State.before is not None:
        if len(sys._current_frames()) > 1:  # a daemon thread: Python does not let it run while modules are cleared
            gc.unfreeze()
            return
        _clear_modules(_State.before)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python complains of it in its own way, and exits with 120
        gc.freeze()
        return
    os._exit(status or 0)


def _clear_modules(before: frozenset[str]) -> None:
    """Clear the modules of users, the last one first, as CPython does (`_PyModule_ClearDict`), and write out the files that are left."""
    for name in reversed([*sys.modules]):
        if name not in before and name.partition(".")[0] not in _NOT_THEIRS and isinstance(sys.modules[name], ModuleType):
            names = vars(sys.modules[name])
            private = [one for one in names if one.startswith("_") and not one.startswith("__")]
            for one in (*private, *(one for one in names if one != "__builtins__")):
                names[one] = None
    gc.collect()
    for found in gc.get_objects():
        if isinstance(found, BufferedWriter | BufferedRandom | TextIOWrapper):
            with suppress(OSError, ValueError):
                found.flush()


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
