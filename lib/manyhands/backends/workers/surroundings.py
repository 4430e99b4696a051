"""Restores what a job may change in its worker and the next job must not find: compared after each job, restored if it differs.

This covers the working folder, umask, environment, signal handlers and mask, timers, priority, limits, and standard input. Output is
handled in `manyhands.backends.workers.worker`. Python modules and their globals are kept as the job left them, on purpose.

Checking all of this may take longer than a job. So the expensive checks are done only after a job that took a millisecond, at the end
of a chunk, and if a Python function was called that changes what they check.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, cast

from manyhands.backends.shared.job_environment import JobNames
from manyhands.backends.workers.worker_output import is_marked, mark

_getsignal: Final = import_module("_signal").getsignal
"""`signal.getsignal` converts each to an enum, which takes ten times as long."""
_LONG: Final = 0.001
_ALL: Final = tuple(number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP))
_USUAL: Final = tuple(
    map(
        int,
        (
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGINT,
            signal.SIGALRM,
            signal.SIGCHLD,
            signal.SIGPIPE,
            signal.SIGUSR1,
            signal.SIGUSR2,
        ),
    )
)
_LIMITS: Final = tuple(
    getattr(resource, f"RLIMIT_{name}")
    for name in ("AS", "CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if hasattr(resource, f"RLIMIT_{name}")
)
_NOTED: Final = (
    (signal, "pthread_sigmask"),
    (signal, "setitimer"),
    (signal, "alarm"),
    (resource, "setrlimit"),
    (resource, "prlimit"),
)


class Surroundings:
    """Remembers the state at its creation; `restore` restores it."""

    def __init__(self, names: JobNames) -> None:
        self._names = names
        self._values: dict[bytes, bytes] = cast("Any", os.environ)._data
        self._environment = dict(self._values)
        self._folder, self._path = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), _where()
        self._mask = os.umask(0)
        os.umask(self._mask)
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._handlers, self._usual = _handlers(_ALL), _handlers(_USUAL)
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._limits = tuple(map(resource.getrlimit, _LIMITS))
        self._stdin, self._marked = sys.stdin, open_null()
        self._set_mask, self._set_timer, self._set_limit = signal.pthread_sigmask, signal.setitimer, resource.setrlimit
        self._touched = False
        """Whether a function was called that changes what is expensive to check."""
        for module, name in _NOTED:
            if hasattr(module, name):
                setattr(module, name, self._noting(getattr(module, name)))

    def _noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noting(*args: Any, **kwargs: Any) -> Any:
            self._touched = True
            return function(*args, **kwargs)

        return noting

    def named(self, job: int, attempt: int) -> None:
        """A job begins: set the environment variables that identify it."""
        self._names.write(job, attempt, self._environment)

    def restore(self, wall: float, *, more: bool) -> bool:
        """Restore what a job of ``wall`` seconds has changed; ``more``: the next one begins at once.

        Returns False if something cannot be restored: then this worker must do no more jobs.
        """
        os.umask(self._mask)
        if self._values != self._environment:
            self._put_environment_back()
        if _handlers(_USUAL) != self._usual:
            self._put_handlers_back()
        try:
            self._put_stdin_back()
            if _where() != self._path:
                os.fchdir(self._folder)
            if os.getpriority(os.PRIO_PROCESS, 0) != self._nice:
                os.setpriority(os.PRIO_PROCESS, 0, self._nice)
            if self._touched or not more or wall > _LONG:
                self._restore_all()
        except (OSError, ValueError):  # only root may restore it; or the job has closed the descriptor of our folder
            return False
        return True

    def _restore_all(self) -> None:
        self._touched = False
        self._set_mask(signal.SIG_SETMASK, self._blocked)
        self._set_timer(signal.ITIMER_REAL, 0)
        self._names.put()  # os.unsetenv leaves no trace in os.environ
        if _handlers(_ALL) != self._handlers:
            self._put_handlers_back()
        for which, limit in zip(_LIMITS, self._limits, strict=True):
            if resource.getrlimit(which) != limit:
                self._set_limit(which, limit)

    def _put_stdin_back(self) -> None:
        """As it was; if descriptor 0 were closed, the next file that a job opens would be its standard input."""
        try:
            ours = is_marked(0) if self._marked else bool(os.fstat(0))
        except OSError:
            ours = False
        if not ours:
            self._marked = open_null()
        if self._stdin is not None and self._stdin.closed:
            self._stdin = open(0, closefd=False)  # noqa: SIM115 - it stays open
        sys.stdin = self._stdin

    def _put_environment_back(self) -> None:
        for name in self._values.keys() - self._environment.keys():
            del os.environb[name]
        for name, value in self._environment.items():
            if self._values.get(name) != value:
                os.environb[name] = value
        self._names.put()

    def _put_handlers_back(self) -> None:
        for number, handler in zip(_ALL, self._handlers, strict=True):
            if handler is not None and _getsignal(number) != handler:
                signal.signal(number, handler)


def _handlers(numbers: tuple[int, ...]) -> list[Any]:
    return list(map(_getsignal, numbers))


def open_null() -> bool:
    """Let descriptor 0 be the null device; return whether `is_marked` recognises it."""
    null = os.open(os.devnull, os.O_RDONLY)  # 0 itself, if that is free
    if null:
        os.dup2(null, 0)
        os.close(null)
    else:
        os.set_inheritable(0, True)
    return mark(0)


def _where() -> bytes | None:
    """The working folder; None if it was removed."""
    try:
        return os.getcwdb()
    except FileNotFoundError:
        return None
