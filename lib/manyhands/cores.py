"""How many cores this process may really use: affinity and cgroup quota, not the bare count.

Separate from `host`, because every batch asks this at its start, and nothing here needs psutil.
"""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cores() -> int:
    """The least of the cores this process is bound to (sched_getaffinity(2)) and its cgroup's CPU quota, at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def cgroup_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores by the tightest CPU quota of this process's cgroup and those above it (cgroups(7)); None: no quota."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folders, read = [root, root / "unified"], _quota_v2
        elif "cpu" in controllers.split(","):
            folders, read = [root / "cpu", root / controllers], _quota_v1
        else:
            continue
        for folder in folders:
            group = folder / path.lstrip("/")
            quotas += [read(one) for one in (group, *group.parents) if one == folder or folder in one.parents]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_v2(group: Path) -> float | None:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _quota_v1(group: Path) -> float | None:
    quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
