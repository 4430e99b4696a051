"""The machine: what it is, what it has, and what of it this process may use. All numbers in SI units: bytes and seconds.

What a machine does not have is None, and shown as "not available". psutil is imported when it is needed.
"""

from __future__ import annotations

import getpass
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from manyhands.cores import cgroup_quota, usable_cores

SCHEMA: Final = "manyhands.host/1"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes."""

    total: int
    available: int
    used: int


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system; sizes in bytes."""

    mount: str
    device: str
    type: str
    total: int
    used: int
    free: int


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; traffic in bytes since boot."""

    name: str
    up: bool
    addresses: tuple[str, ...]
    mtu: int
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A machine at one moment. ``cores`` is the bare count; ``usable`` is what this process may use of it."""

    node: str
    system: str
    kernel: str
    machine: str
    distribution: str | None
    cores: int
    usable_cores: int
    quota_cores: float | None
    load: tuple[float, float, float] | None
    memory: Memory
    swap: Memory
    disks: tuple[Disk, ...]
    network: tuple[Interface, ...]
    temperatures: dict[str, float] | None
    """Degrees Celsius by sensor."""
    battery_percent: float | None
    booted: str
    uptime: float
    users: tuple[str, ...]
    python: str

    def to_json(self) -> dict[str, Any]:
        """Stable keys, as the fields are named, and ``schema``."""
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is."""

    pid: int
    ppid: int
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    user: str

    def to_json(self) -> dict[str, Any]:
        """Stable keys, as the fields are named, and ``schema``."""
        return {"schema": "manyhands.identity/1", **asdict(self)}


def identity() -> Identity:
    """The identity of this process, as id(1) and pwd(1) tell it."""
    return Identity(
        os.getpid(), os.getppid(), os.getcwd(), os.getuid(), os.getgid(), tuple(sorted({*os.getgroups(), os.getgid()})),
        getpass.getuser(),
    )  # fmt: skip


def host_info() -> HostInfo:
    """Look at this machine."""
    import psutil

    uname = os.uname()
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    booted = psutil.boot_time()
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return HostInfo(
        node=uname.nodename, system=uname.sysname, kernel=uname.release, machine=uname.machine,
        distribution=_distribution(), cores=os.cpu_count() or 1, usable_cores=usable_cores(), quota_cores=cgroup_quota(),
        load=os.getloadavg() if hasattr(os, "getloadavg") else None,
        memory=Memory(memory.total, memory.available, memory.used), swap=Memory(swap.total, swap.free, swap.used),
        disks=_disks(), network=_network(), temperatures=_temperatures(),
        battery_percent=battery.percent if battery else None,
        booted=datetime.fromtimestamp(booted).astimezone().isoformat(), uptime=time.time() - booted,
        users=tuple(sorted({user.name for user in psutil.users()})),
        python=f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}",
    )  # fmt: skip


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _disks() -> tuple[Disk, ...]:
    import psutil

    found = []
    for part in psutil.disk_partitions():
        try:
            usage = psutil.disk_usage(part.mountpoint)
        except OSError:  # not for us, or gone
            continue
        found.append(Disk(part.mountpoint, part.device, part.fstype, usage.total, usage.used, usage.free))
    return tuple(found)


def _network() -> tuple[Interface, ...]:
    import psutil

    addresses, traffic = psutil.net_if_addrs(), psutil.net_io_counters(pernic=True)
    found = []
    for name, stats in psutil.net_if_stats().items():
        moved = traffic.get(name)
        found.append(Interface(
            name, stats.isup, tuple(one.address for one in addresses.get(name, ())), stats.mtu,
            moved.bytes_recv if moved else 0, moved.bytes_sent if moved else 0,
        ))  # fmt: skip
    return tuple(found)


def _temperatures() -> dict[str, float] | None:
    import psutil

    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    found = {f"{chip} {one.label}".strip(): one.current for chip, values in sensors.items() for one in values}
    return found or None
