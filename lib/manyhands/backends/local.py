"""The backends of this machine that work for others, too: at the end of a queue or of a cluster, where the registry is not needed."""

from __future__ import annotations

import os
import select

from manyhands.backends.protocol import Backend
from manyhands.backends.settings import CommandSettings, FunctionSettings


def open_local(settings: CommandSettings | FunctionSettings) -> Backend:
    """Commands by launchers if the kernel supports them, else by one thread per slot; functions in worker processes."""
    if isinstance(settings, FunctionSettings):
        from manyhands.backends.processes import Processes

        return Processes(settings)
    if hasattr(os, "pidfd_open") and hasattr(select, "epoll") and _pidfd_works():
        from manyhands.backends.commands import Commands

        return Commands(settings)
    from manyhands.backends.command_threads import CommandThreads

    return CommandThreads(settings)


def _pidfd_works() -> bool:
    """Old kernels (before 5.3) and some sandboxes refuse pidfd_open(2) although Python has it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True
