"""The backends by name, what each requires, and how it is opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from manyhands.backends.honoured_options import binding, refuse_ignored
from manyhands.backends.protocol import Backend
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.errors import UsageError
from manyhands.core.extras import install_line
from manyhands.core.hints import given_as, option_name
from manyhands.runtime.gevent_patch import threads_are_patched

if TYPE_CHECKING:
    from manyhands.work.plan import Plan


def _commands(settings: CommandSettings) -> Backend:
    from manyhands.backends.local import open_local

    return open_local(settings)


def _command_threads(settings: CommandSettings) -> Backend:
    from manyhands.backends.command_threads import CommandThreads

    return CommandThreads(settings)


def _fake(settings: CommandSettings | FunctionSettings) -> Backend:
    from manyhands.backends.fake import Fake

    return Fake(settings.slots, patient=True)


def _serial(settings: FunctionSettings) -> Backend:
    from manyhands.backends.serial import Serial

    return Serial(settings)


def _threads(settings: FunctionSettings) -> Backend:
    from manyhands.backends.shared.in_process import Inside
    from manyhands.backends.threads import Threads

    return Threads(settings, partial(Inside, settings))


def _interpreters(settings: FunctionSettings) -> Backend:
    from manyhands.backends.interpreters import Interpreter
    from manyhands.backends.threads import Threads

    return Threads(settings, lambda _, suspension, number: Interpreter(settings, suspension, number), "interpreters")


def _processes(settings: FunctionSettings) -> Backend:
    from manyhands.backends.processes import Processes

    return Processes(settings)


def _asyncio(settings: FunctionSettings) -> Backend:
    from manyhands.backends.asyncio_loop import Aio

    return Aio(settings)


def _gevent(settings: FunctionSettings) -> Backend:
    from manyhands.backends.gevent_greenlets import Greenlets

    return Greenlets(settings)


def _auto(settings: FunctionSettings) -> Backend:
    bound = binding(
        workdir=os.fsdecode(settings.workdir),
        environment=dict(settings.environment),
        nice=settings.nice,
        workers=settings.workers,
    )
    from manyhands.work.plain_function import is_coroutine_function  # here: commands need none of it

    if is_coroutine_function(settings.call.function()) and bound is None:
        return _asyncio(settings)
    from manyhands.backends.auto import Auto

    why = "keep a time-out" if settings.timed else f"honour {option_name(bound)}" if bound else None
    return Auto(_processes(settings), partial(_threads, settings), cannot=why)


def _ssh(settings: CommandSettings) -> Backend:
    from manyhands.backends.sites import Sites, SiteSettings

    if not isinstance(settings, SiteSettings):
        raise UsageError(f"{given_as('--backend', 'ssh')} needs hosts: give {option_name('--on')}")
    return Sites(settings)


def _queue(kind: str) -> Callable[[CommandSettings | FunctionSettings], Backend]:
    """The backend ``kind``: redis, celery or rq."""

    def opened(settings: CommandSettings | FunctionSettings) -> Backend:
        from manyhands.backends.queue.queue_backend import open_queue

        return open_queue(kind, settings)

    return opened


def _dask(settings: CommandSettings | FunctionSettings) -> Backend:
    from manyhands.backends.cluster.coordinator import open_cluster

    return open_cluster(settings)


COMMANDS: Final[dict[str, Callable[[CommandSettings], Backend]]] = {
    "commands": _commands,
    "command-threads": _command_threads,
    "ssh": _ssh,
    "redis": _queue("redis"),
    "celery": _queue("celery"),
    "rq": _queue("rq"),
    "dask": _dask,
    "auto": _commands,
    "fake": _fake,
}
"""The backends for commands."""

FUNCTIONS: Final[dict[str, Callable[[FunctionSettings], Backend]]] = {
    "processes": _processes,
    "threads": _threads,
    "asyncio": _asyncio,
    "gevent": _gevent,
    "interpreters": _interpreters,
    "serial": _serial,
    "redis": _queue("redis"),
    "celery": _queue("celery"),
    "rq": _queue("rq"),
    "dask": _dask,
    "auto": _auto,
    "fake": _fake,
}
"""The backends for functions."""


_EXTRAS: Final = {
    "gevent": ("gevent", "gevent"),
    "redis": ("redis", "queue"),
    "celery": ("celery", "celery"),
    "rq": ("rq", "rq"),
    "dask": ("distributed", "cluster"),
}
"""Backends that need a package, and the extra that has it."""


_NEED_THREADS: Final = frozenset({"processes", "auto", "gevent", "interpreters"})
"""Backends that would wait for ever if threads are greenlets."""


def check_backend(name: str, *, functions: bool = False) -> None:
    """Raise UsageError unless ``name`` is a backend for commands, or for ``functions``; the message lists those that exist."""
    ours, others = (FUNCTIONS, COMMANDS) if functions else (COMMANDS, FUNCTIONS)
    if name in ours:
        package, extra = _EXTRAS.get(name, ("", ""))
        if package and find_spec(package) is None:
            raise UsageError(
                f"{given_as('--backend', name)} needs {package}, which is not installed: {install_line(extra)}"
            )
        if name == "interpreters" and find_spec("concurrent.interpreters") is None:
            raise UsageError(
                f"{given_as('--backend', name)} needs Python 3.14 or later; this is {sys.version.split()[0]}"
            )
        if functions and name in _NEED_THREADS and threads_are_patched():
            raise UsageError(
                f"{given_as('--backend', name)} needs real threads, and gevent has patched those of this process: choose threads or asyncio, "
                "or call it from a process that is not patched"
            )
        return
    what = "functions" if functions else "commands"
    why = f"it does not run {what}" if name in others else "there is no such backend"
    raise UsageError(f"{given_as('--backend', repr(name))}: {why}; choose one of {', '.join(ours)}")


def check_plan(plan: Plan) -> None:
    """Raise UsageError unless every stage of the plan has an existing backend that honours the given options."""
    for work, name in zip(plan.works, (plan.backend, *(one.backend for one in plan.then)), strict=True):
        check_backend(name, functions=work.is_function)
    if (rule := plan.limits.retry_on) and rule.exceptions and not plan.work.is_function:
        raise UsageError(
            f"{given_as('--retry-on', rule.exceptions[0])}: a command raises no exceptions; give exit statuses or signals"
        )
    refuse_ignored(plan)


def open_backend(name: str, settings: CommandSettings | FunctionSettings) -> Backend:
    """The backend called ``name``, ready for attempts. Raises UsageError, or another error if it cannot be opened."""
    functions = isinstance(settings, FunctionSettings)
    check_backend(name, functions=functions)
    table: dict[str, Callable[[Any], Backend]] = {**(FUNCTIONS if functions else COMMANDS)}
    return table[name](settings)
