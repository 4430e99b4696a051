"""Ways of doing attempts: one module each, none of which knows another, and here the table of their names."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

from manyhands.backend import Backend
from manyhands.backends.settings import CommandSettings
from manyhands.errors import UsageError


def _commands(settings: CommandSettings) -> Backend:
    """Launchers where the kernel has what they need, else one thread a slot."""
    if not (hasattr(os, "pidfd_open") and hasattr(select, "epoll") and _pidfd_works()):
        return _command_threads(settings)
    from manyhands.backends.commands import Commands

    return Commands(settings)


def _command_threads(settings: CommandSettings) -> Backend:
    from manyhands.backends.command_threads import CommandThreads

    return CommandThreads(settings)


def _fake(settings: CommandSettings) -> Backend:
    from manyhands.backends.fake import Fake

    return Fake(settings.slots)


BACKENDS: Final[dict[str, Callable[[CommandSettings], Backend]]] = {
    "commands": _commands,
    "command-threads": _command_threads,
    "fake": _fake,
}


def check_backend(name: str) -> None:
    """Raise UsageError, naming those that exist, unless ``name`` is a backend."""
    if name not in BACKENDS:
        raise UsageError(f"--backend {name!r}: there is no such backend; choose one of {', '.join(BACKENDS)}")


def open_backend(name: str, settings: CommandSettings) -> Backend:
    """The backend called ``name``, ready for attempts. Raises UsageError."""
    check_backend(name)
    return BACKENDS[name](settings)


def _pidfd_works() -> bool:
    """Old kernels (before 5.3) and some sandboxes refuse pidfd_open(2) although Python has it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
