"""What the machine has, and how much of it is in use now: CPU, memory, disks, network, sensors, pressure.

Bytes, seconds, percent (0 to 100), degrees Celsius. What the machine does not have is None, or an empty tuple. psutil is
imported when it is needed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

from manyhands.core.records import dataclass
from manyhands.posix.cgroup import cores_quota
from manyhands.posix.cores import usable_cores

_PRESSURE: Final = Path("/proc/pressure")


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPUs during ``seconds``. ``busy``: percent of all cores together; ``cores``: of each; ``times``: percent by kind of use; ``since_boot``:
    seconds of each core since the start of the machine, by kind of use as /proc/stat counts it (time of guests also within user).

    ``load``: processes that run or wait, on average over 1, 5 and 15 minutes (getloadavg(3)).
    """

    seconds: float
    busy: float
    cores: tuple[float, ...]
    times: dict[str, float]
    since_boot: tuple[dict[str, float], ...]
    mhz: float | None
    load: tuple[float, float, float] | None
    count: int
    usable: int
    quota: float | None


def cpu(seconds: float = 1.0) -> Cpu:
    """Watch the CPUs for ``seconds``."""
    import psutil

    before, began = psutil.cpu_times(percpu=True), time.monotonic()
    time.sleep(seconds)
    after, took = psutil.cpu_times(percpu=True), time.monotonic() - began
    spent = [_spent(*pair) for pair in zip(before, after, strict=False)]  # a core may be switched off meanwhile
    total = {name: sum(one[name] for one in spent) for name in (spent[0] if spent else {})}
    whole = sum(total.values())
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return Cpu(
        seconds=took,
        busy=_busy(total),
        cores=tuple(map(_busy, spent)),
        times={name: 100 * part / whole for name, part in total.items() if whole},
        since_boot=tuple(dict(zip(one._fields, one, strict=True)) for one in after),
        mhz=frequency.current if frequency else None,
        load=os.getloadavg() if hasattr(os, "getloadavg") else None,
        count=os.cpu_count() or 1,
        usable=usable_cores(),
        quota=cores_quota(),
    )


def _spent(before: Any, after: Any) -> dict[str, float]:
    """Seconds by kind of use. Time of guests is included in user and nice (proc(5))."""
    both = zip(before._fields, before, after, strict=True)
    return {name: max(0.0, then - first) for name, first, then in both if not name.startswith("guest")}


def _busy(spent: dict[str, float]) -> float:
    whole = sum(spent.values())
    return 100 * (1 - (spent.get("idle", 0.0) + spent.get("iowait", 0.0)) / whole) if whole else 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, as free(1) counts them: ``available`` is what programs can get without swapping; ``used`` is the rest."""

    total: int
    available: int
    used: int
    free: int
    cached: int | None
    """Memory in which the kernel caches files, and which it frees when it is needed."""
    shared: int | None


@dataclass(frozen=True, slots=True)
class Swap:
    """Bytes; a total of 0 means that there is none."""

    total: int
    used: int
    free: int


def memory() -> Memory:
    """The memory, now."""
    import psutil

    seen = psutil.virtual_memory()
    cached, shared = getattr(seen, "cached", None), getattr(seen, "shared", None)
    return Memory(seen.total, seen.available, seen.total - seen.available, seen.free, cached, shared)


def swap() -> Swap:
    """The swap space, now."""
    import psutil

    seen = psutil.swap_memory()
    return Swap(seen.total, seen.used, seen.free)


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system; sizes in bytes. ``free`` is what users may have, so used and free may be less than the total;
    ``percent`` is used by used and free, as df(1) counts it. ``inodes`` None: it has no fixed number of them."""

    mount: str
    device: str
    type: str
    total: int
    used: int
    free: int
    percent: float
    inodes: int | None
    inodes_free: int | None


def disks() -> tuple[Disk, ...]:
    """The file systems on devices of this machine, by mount point; those that may not be read are left out."""
    import psutil

    found = []
    for part in psutil.disk_partitions():
        try:
            found.append(disk(part.mountpoint, part.device, part.fstype))
        except OSError:  # no permission, or gone
            continue
    return tuple(found)


def disk(path: str, device: str = "?", kind: str = "?") -> Disk:
    """The file system that holds ``path``. Raises OSError if there is no such path."""
    status = os.statvfs(path)
    total, free, left = (blocks * status.f_frsize for blocks in (status.f_blocks, status.f_bavail, status.f_bfree))
    used = total - left
    percent = 100 * used / (used + free) if used + free else 0.0
    return Disk(
        path,
        device,
        kind,
        total,
        used,
        free,
        percent,
        status.f_files or None,
        status.f_favail if status.f_files else None,
    )


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface. ``received`` and ``sent`` in bytes since boot, ``speed`` in bits a second."""

    name: str
    up: bool
    addresses: tuple[str, ...]
    mtu: int
    speed: int | None
    received: int
    sent: int
    errors: int
    dropped: int


def network() -> tuple[Interface, ...]:
    """The network interfaces, now."""
    import psutil

    addresses, traffic = psutil.net_if_addrs(), psutil.net_io_counters(pernic=True)
    found = []
    for name, state in psutil.net_if_stats().items():
        moved = traffic.get(name)
        found.append(
            Interface(
                name=name,
                up=state.isup,
                addresses=tuple(one.address for one in addresses.get(name, ())),
                mtu=state.mtu,
                speed=state.speed * 1_000_000 or None,
                received=moved.bytes_recv if moved else 0,
                sent=moved.bytes_sent if moved else 0,
                errors=moved.errin + moved.errout if moved else 0,
                dropped=moved.dropin + moved.dropout if moved else 0,
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Sensors:
    """Degrees Celsius and revolutions per minute, by sensor; ``battery`` in percent, ``plugged``: whether it is on mains power."""

    temperatures: dict[str, float]
    fans: dict[str, int]
    battery: float | None
    plugged: bool | None


def sensors() -> Sensors:
    """The readings of the sensors; most virtual machines have none."""
    import psutil

    def ask(name: str) -> Any:
        try:
            return getattr(psutil, name)()
        except (AttributeError, OSError):
            return None

    heat, fans, battery = ask("sensors_temperatures") or {}, ask("sensors_fans") or {}, ask("sensors_battery")
    return Sensors(
        temperatures={f"{chip} {one.label}".strip(): one.current for chip, values in heat.items() for one in values},
        fans={f"{chip} {one.label}".strip(): one.current for chip, values in fans.items() for one in values},
        battery=battery.percent if battery else None,
        plugged=battery.power_plugged if battery else None,
    )


@dataclass(frozen=True, slots=True)
class Pressure:
    """The share of time, in percent, in which some tasks, or all, waited for a resource: on average over 10, 60 and 300 seconds,
    and the seconds since boot (PSI: Documentation/accounting/psi.rst of Linux)."""

    some: tuple[float, float, float]
    some_seconds: float
    full: tuple[float, float, float] | None
    full_seconds: float | None


def pressure(folder: Path = _PRESSURE) -> dict[str, Pressure]:
    """The pressure by resource: cpu, memory, io, irq; empty if the kernel does not measure it."""
    found = {}
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        try:
            lines = dict(_pressure_line(line) for line in path.read_text().splitlines())
        except OSError:  # there, but switched off (psi=0)
            continue
        nothing = (0.0, 0.0, 0.0), 0.0
        some, full = lines.get("some", nothing), lines.get("full")
        found[path.name] = Pressure(*some, *(full or (None, None)))
    return found


def strain(folder: Path = _PRESSURE) -> str | None:
    """The resource for which programs wait so much that fewer of them would do better, in words; None if there is none.

    That is memory if tasks waited for it during a tenth of the last ten seconds, and disks if during half of them (PSI,
    https://docs.kernel.org/accounting/psi.html); without PSI, a load of more than four tasks per core (getloadavg(3)).
    """
    found = pressure(folder)
    for name, limit in (("memory", 10.0), ("io", 50.0)):
        if name in found and found[name].some is not None and found[name].some[0] > limit:
            return f"tasks waited for {name} {found[name].some[0]:.0f}% of the last 10 s"
    load = os.getloadavg()[0]
    return f"the load is {load:.1f}" if not found and load > 4 * usable_cores() else None


def _pressure_line(line: str) -> tuple[str, tuple[tuple[float, float, float], float]]:
    """``some avg10=0.00 avg60=0.00 avg300=0.00 total=0``, the total in microseconds."""
    kind, *rest = line.split()
    ten, sixty, three_hundred, total = (float(one.partition("=")[2]) for one in rest)
    return kind, ((ten, sixty, three_hundred), total / 1e6)
