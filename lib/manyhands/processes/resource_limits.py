"""The limits of a program started here: cores, memory, files, processes. The lowest limit counts.

Numbers are bytes, seconds, or counts; None: no limit, or not known on this system.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from manyhands.core.records import dataclass
from manyhands.posix.cgroup import OWN, ROOT, cores_quota, memory_limit, own_groups, processes_limit, read
from manyhands.posix.cores import usable_cores

Limit = tuple[int | None, int | None]
"""(soft, hard) of getrlimit(2): the limit, and how far it can be raised without being root."""

RLIMITS: Final = {
    "core_bytes": "RLIMIT_CORE",
    "cpu_seconds": "RLIMIT_CPU",
    "file_bytes": "RLIMIT_FSIZE",
    "locked_bytes": "RLIMIT_MEMLOCK",
    "memory_bytes": "RLIMIT_AS",
    "open_files": "RLIMIT_NOFILE",
    "processes": "RLIMIT_NPROC",
    "stack_bytes": "RLIMIT_STACK",
}
"""Our names, with units, for the limits of getrlimit(2)."""


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """The limits of this process, and so of what it starts."""

    cores: int
    affinity: tuple[int, ...] | None
    """The numbers of the cores that the process is bound to."""
    quota_cores: float | None
    usable_cores: int
    memory_total_bytes: int
    memory_available_bytes: int
    memory_limit_bytes: int | None
    """The limit of its cgroup and those above."""
    shm_total_bytes: int | None
    """The size of /dev/shm, which holds semaphores and shared memory."""
    system_open_files: int | None
    system_processes: int | None
    cgroup_processes: int | None
    cgroup_processes_now: int | None
    nice: int
    limits: Mapping[str, Limit]

    def to_json(self) -> dict[str, Any]:
        """Stable keys, as the fields are named, and ``schema``."""
        limits = {name: {"soft": soft, "hard": hard} for name, (soft, hard) in self.limits.items()}
        return {"schema": "manyhands.limits/1", **asdict(self), "limits": limits}


def allowance() -> ResourceLimits:
    """Read the limits from the system."""
    import psutil

    memory = psutil.virtual_memory()
    return ResourceLimits(
        cores=os.cpu_count() or 1,
        affinity=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None,
        quota_cores=cores_quota(),
        usable_cores=usable_cores(),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        memory_limit_bytes=memory_limit(),
        shm_total_bytes=_size_of("/dev/shm"),  # noqa: S108 - only its size is read
        system_open_files=_number("/proc/sys/fs/file-max"),
        system_processes=_number("/proc/sys/kernel/pid_max"),
        cgroup_processes=processes_limit(),
        cgroup_processes_now=_processes_now(),
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        limits=own_limits(),
    )


def own_limits() -> dict[str, Limit]:
    """The limits of this process, which its children inherit, by our names."""
    found = {}
    for name, constant in RLIMITS.items():
        if hasattr(resource, constant):
            soft, hard = resource.getrlimit(getattr(resource, constant))
            found[name] = (_unless_endless(soft), _unless_endless(hard))
    return found


def _unless_endless(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit


def _number(path: str) -> int | None:
    text = read(Path(path))
    return int(text) if text.isdigit() else None


def _size_of(folder: str) -> int | None:
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_frsize * status.f_blocks


def _processes_now(root: Path = ROOT, own: Path = OWN) -> int | None:
    for group, _ in own_groups("pids", root, own):
        if text := read(group / "pids.current"):
            return int(text)
    return None
