"""The limits of this process's control group and those above it (cgroups(7)), of both versions, v1 and v2.

Standard library only and quick to import, because every batch reads the number of its cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
_NO_LIMIT_V1: Final = 1 << 62
"""A v1 group without a limit has a huge number, rounded down to pages."""


def own_groups(controller: str, root: Path = ROOT, own: Path = OWN) -> Iterator[tuple[Path, int]]:
    """(folder, 1 or 2) of each group that may limit this process by ``controller``, from its own upwards."""
    try:
        text = own.read_text()
    except OSError:
        return
    yield from _groups(controller, root, text)


@cache
def _groups(controller: str, root: Path, text: str) -> list[tuple[Path, int]]:
    """The same from the content of /proc/self/cgroup, which hardly ever changes: making the paths takes a millisecond."""
    found: list[tuple[Path, int]] = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folders, version = [root, root / "unified"], 2
        elif controller in controllers.split(","):
            folders, version = [root / controller, root / controllers], 1
        else:
            continue
        for folder in folders:
            group = folder / path.lstrip("/")
            found += ((one, version) for one in (group, *group.parents) if one == folder or folder in one.parents)
    return found


def tightest(controller: str, v2: str, v1: str, root: Path = ROOT, own: Path = OWN) -> int | None:
    """The smallest number in the files with these names; None: no limit."""
    found = []
    for group, version in own_groups(controller, root, own):
        text = read(group / (v2 if version == 2 else v1))
        if text.isdigit() and int(text) < _NO_LIMIT_V1:
            found.append(int(text))
    return min(found, default=None)


def cores_quota(root: Path = ROOT, own: Path = OWN) -> float | None:
    """Cores allowed by the tightest CPU quota; None: no quota."""
    quotas = [_quota_v2(group) if version == 2 else _quota_v1(group) for group, version in own_groups("cpu", root, own)]
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Bytes; None: no limit."""
    return tightest("memory", "memory.max", "memory.limit_in_bytes", root, own)


def processes_limit(root: Path = ROOT, own: Path = OWN) -> int | None:
    """Processes and threads together; None: no limit."""
    return tightest("pids", "pids.max", "pids.max", root, own)


def _quota_v2(group: Path) -> float | None:
    quota, _, period = read(group / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _quota_v1(group: Path) -> float | None:
    quota, period = read(group / "cpu.cfs_quota_us"), read(group / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def read(path: Path) -> str:
    """The content of a small file, stripped; empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
