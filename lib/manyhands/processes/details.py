"""All that can be found out about one process, for ``proc.show``. What may not be read is None.

Separate from `manyhands.processes.listing`, which reads many processes and therefore little of each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from manyhands.core.errors import UsageError
from manyhands.core.masking import masked
from manyhands.core.records import dataclass
from manyhands.processes.listing import ProcessInfo, process_info
from manyhands.processes.resource_limits import RLIMITS, Limit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket of a process; ``remote`` is None when it is not connected."""

    protocol: str
    local: str
    remote: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Details:
    """One process in full. None: there is no permission, or the system does not report it."""

    info: ProcessInfo
    parent: str | None
    children: tuple[tuple[int, str], ...]
    exe: str | None
    cwd: str | None
    terminal: str | None
    nice: int | None
    threads: int | None
    user_seconds: float | None
    system_seconds: float | None
    rss: int | None
    virtual: int | None
    files: tuple[str, ...] | None
    descriptors: int | None
    sockets: tuple[Socket, ...] | None
    limits: Mapping[str, Limit] | None
    """(soft, hard) by name; None: no limit."""
    environment: Mapping[str, str] | None


def details(pid: int, *, environment: bool = False) -> Details:
    """Inspect a process. Raises UsageError if it does not exist. Values of its environment that look secret are masked."""
    import psutil

    info = process_info(pid)
    if info is None:
        raise UsageError(f"there is no process {pid}")
    process = psutil.Process(pid)
    times, memory = _asked(process.cpu_times), _asked(process.memory_info)
    parent = _asked(process.parent)
    sockets = _asked(lambda: process.net_connections(kind="inet"))
    files = _asked(process.open_files)
    return Details(
        info=info,
        parent=None if parent is None else _asked(parent.name),
        children=tuple((one.pid, _asked(one.name) or "?") for one in _asked(process.children) or ()),
        exe=_asked(lambda: _program_of(process)) or None,
        cwd=_asked(process.cwd) or None,
        terminal=_asked(process.terminal),
        nice=_asked(process.nice),
        threads=_asked(process.num_threads),
        user_seconds=times.user if times else None,
        system_seconds=times.system if times else None,
        rss=memory.rss if memory else None,
        virtual=memory.vms if memory else None,
        files=None if files is None else tuple(one.path for one in files),
        descriptors=_asked(process.num_fds),
        sockets=None if sockets is None else tuple(_socket(one) for one in sockets),
        limits=_limits(process),
        environment=masked(_asked(process.environ) or {}) if environment else None,
    )


def _program_of(process: Any) -> str:
    """The path of its program. On Linux only what the kernel says: without permission, psutil would guess from the command line."""
    return os.readlink(f"/proc/{process.pid}/exe") if sys.platform == "linux" else str(process.exe())


def _asked(ask: Callable[[], T]) -> T | None:
    """The result of ``ask``; None without permission, or if the process is gone."""
    import psutil

    try:
        return ask()
    except (psutil.Error, OSError):
        return None


def _socket(one: Any) -> Socket:
    remote = f"{one.raddr.ip}:{one.raddr.port}" if one.raddr else None
    local = f"{one.laddr.ip}:{one.laddr.port}" if one.laddr else "-"
    return Socket("udp" if one.type == 2 else "tcp", local, remote, one.status)


def _limits(process: Any) -> dict[str, Limit] | None:
    import psutil

    if not hasattr(process, "rlimit"):
        return None
    found = {}
    for name, constant in RLIMITS.items():
        pair = _asked(lambda constant=constant: process.rlimit(getattr(psutil, constant)))  # type: ignore[misc]
        if pair is None:
            return None
        found[name] = (_unless_endless(pair[0]), _unless_endless(pair[1]))
    return found


def _unless_endless(limit: int) -> int | None:
    import psutil

    return None if limit == psutil.RLIM_INFINITY else limit
