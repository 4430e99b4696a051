"""Keeps multiprocessing's fork server working, which makes the workers: a job may have stopped or killed it.

    preload --> ensure_running with SIGCHLD unblocked --> Process.start, watched by a thread

The names used are private to multiprocessing (Lib/multiprocessing/forkserver.py); if one is missing, nothing is done.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, process, util
from typing import Any, Final

from manyhands.backends.workers.early_process import PRELOADED, run_early
from manyhands.core.package_location import LIBRARY
from manyhands.posix import linux

_PATIENCE: Final = 30.0
"""Seconds that it has to start a process, before it is killed; that usually takes milliseconds."""
_LOOK: Final = 0.5
_server: Any = getattr(forkserver, "_forkserver", None)
_SERVER: Final = "from multiprocessing.forkserver import main; "
_TRACKER: Final = "from multiprocessing.resource_tracker import main;"
"""How the code begins that multiprocessing starts its helpers with."""
_LAZY_TRACKER: Final = (
    f"import sys; sys.path.append({LIBRARY!r}); from manyhands.backends.workers.lazy_tracker import main;"
)


def preload() -> None:
    """Let it import what every worker needs, once for all of them, unless the program has chosen what it imports."""
    if getattr(_server, "_preload_modules", None) == ["__main__"]:
        forkserver.set_forkserver_preload(["__main__", *PRELOADED])


def start(worker: Any) -> None:
    """As `Process.start`, but it never waits for a stopped server. Raises OSError or EOFError if the process cannot be started.

    multiprocessing forgets the process; otherwise it would wait for it when the program ends.
    """
    over = threading.Event()
    # `threading.Thread` would wait until it runs, and on a busy machine that takes milliseconds.
    _thread.start_new_thread(_watch, (over,))
    try:
        with _sigchld_unblocked(), _main_of_standard_input_hidden(), _this_folder_unsearched(), _quick_helpers():
            try:
                worker.start()
            except ChildProcessError:  # it has died, and somebody else in this process has reaped it: a waitpid(-1)
                _forget()
                worker.start()
    finally:
        over.set()
        getattr(process, "_children", set()).discard(worker)


def wake() -> bool:
    """Continue the server if it was stopped; return whether it was."""
    pid = getattr(_server, "_forkserver_pid", None)
    stat = linux.read_stat(pid) if pid else None
    if stat is None or stat.state != "T":
        return False
    return linux.send_signal_exact(stat.pid, stat.start, signal.SIGCONT)


def _watch(over: threading.Event) -> None:
    """While a process is being started: continue the server if it is stopped, and kill it if it does not answer."""
    waited = 0.0
    while not over.wait(_LOOK):
        wake()
        waited += _LOOK
        if waited >= _PATIENCE and (pid := getattr(_server, "_forkserver_pid", None)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own


@contextmanager
def _sigchld_unblocked() -> Iterator[None]:
    """A server inherits our signal mask; with SIGCHLD blocked, it would never report that a worker has ended."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_of_standard_input_hidden() -> Iterator[None]:
    """Hide the ``__file__`` of a program that is read from standard input: multiprocessing would try to import it."""
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) != "<stdin>":
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = "<stdin>"


@contextmanager
def _this_folder_unsearched() -> Iterator[None]:
    """Keep servers, started by ``python -c``, from searching the working folder for modules: a random.py there would break them.
    Workers get our own `sys.path` afterwards."""
    usual = getattr(util, "_args_from_interpreter_flags", None)
    if usual is None or sys.flags.safe_path:
        yield
        return
    util._args_from_interpreter_flags = lambda: [*usual(), "-P"]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        util._args_from_interpreter_flags = usual  # type: ignore[attr-defined]


@contextmanager
def _quick_helpers() -> Iterator[None]:
    """Let multiprocessing use the interpreter that waits to be its fork server, and a resource tracker that imports little."""
    usual: Any = getattr(util, "spawnv_passfds", None)
    if usual is None:
        yield
        return

    def spawn(path: Any, args: Any, descriptors: Sequence[int]) -> int:
        code = args[-1]
        if code.startswith(_SERVER) and (early := run_early(code, descriptors)):
            early.returncode = 0  # multiprocessing waits for it from now on
            return early.pid
        if code.startswith(_TRACKER):
            lazy = _LAZY_TRACKER + code.removeprefix(_TRACKER)
            args = [args[0], "-I", "-S", *args[1:-1], lazy, "multiprocessing.resource_tracker"]  # the last is for ps(1)
        started: int = usual(path, args, descriptors)
        return started

    util.spawnv_passfds = spawn  # type: ignore[assignment]  # typeshed has it otherwise
    try:
        yield
    finally:
        util.spawnv_passfds = usual


def _forget() -> None:
    """Forget the server: it is gone, or, in a forked child, our parent's. A new one is made when it is needed."""
    for name in ("_forkserver_alive_fd", "_forkserver_address", "_forkserver_pid"):
        if name == "_forkserver_alive_fd" and getattr(_server, name, None) is not None:
            with suppress(OSError):  # else the server would outlive the parent, as long as we live
                os.close(_server._forkserver_alive_fd)
        setattr(_server, name, None)
    getattr(process.current_process(), "_config", {}).pop(
        "tempdir", None
    )  # the folder of its socket goes when the parent ends
    _server._lock = threading.Lock()


if _server is not None and hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
