"""The machine in words: what the ``host`` tasks print. What it does not have says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain

from manyhands.core.safe_text import one_line
from manyhands.host.info import Clock, HostInfo, Identity
from manyhands.host.metrics import Cpu, Disk, Interface, Memory, Pressure, Sensors, Swap
from manyhands.render.table import table
from manyhands.render.words import duration, size

_ABSENT = "not available"
_BAR = 40


def _labelled(rows: Iterable[tuple[str, object]], width: int = 10) -> Iterator[str]:
    return (f"{label:{width}} {one_line(str(value), 1000)}" for label, value in rows)


def info_lines(info: HostInfo) -> Iterator[str]:
    """One line for each thing."""
    quota = _quota(info.quota_cores)
    heat = (f"{name} {value:.0f} °C" for name, value in info.sensors.temperatures.items())
    return _labelled(
        [
            ("host", info.node),
            ("system", f"{info.distribution or info.system}, {info.system} {info.kernel} on {info.machine}"),
            ("version", info.version),
            ("virtual", f"{info.virtual or 'no hypervisor to be seen'}, {_contained(info.container)}"),
            ("cores", f"{info.cores}, of which this process may use {info.usable_cores} (quota: {quota})"),
            ("load", _load(info.load)),
            ("memory", f"{size(info.memory.total)}, {size(info.memory.available)} available"),
            ("swap", f"{size(info.swap.total)}, {size(info.swap.used)} used" if info.swap.total else _ABSENT),
            *(("disk", f"{one.mount}: {size(one.total)}, {size(one.free)} free ({one.type})") for one in info.disks),
            *(
                ("network", f"{one.name}: {', '.join(one.addresses) or 'no address'}{'' if one.up else ' (down)'}")
                for one in info.network
            ),
            ("sensors", ", ".join(heat) or _ABSENT),
            ("battery", _ABSENT if info.sensors.battery is None else f"{info.sensors.battery:.0f}%"),
            ("booted", f"{info.booted}, up for {duration(info.uptime)}"),
            ("users", ", ".join(info.users) or "nobody is logged in"),
            ("python", info.python),
        ]
    )


def _contained(container: str | None) -> str:
    return f"in a container ({container})" if container else "no container to be seen"


def _quota(quota: float | None) -> str:
    return "none" if quota is None else f"{quota:g}"


def _load(load: tuple[float, float, float] | None) -> str:
    return " ".join(f"{value:.2f}" for value in load) if load else _ABSENT


def cpu_lines(seen: Cpu, *, per_core: bool) -> Iterator[str]:
    """How busy the CPUs are, with what; each core as a bar, if asked for."""
    parts = (f"{name} {part:.1f}%" for name, part in seen.times.items() if name != "idle" and part >= 0.05)
    yield from _labelled(
        [
            ("busy", f"{seen.busy:.1f}% of {seen.count} cores over {duration(seen.seconds)}"),
            ("with", ", ".join(parts) or "nothing"),
            ("usable", f"{seen.usable} by this process (quota: {_quota(seen.quota)})"),
            ("load", _load(seen.load)),
            ("clock", _ABSENT if seen.mhz is None else f"{seen.mhz:.0f} MHz"),
        ]
    )
    if per_core:
        for number, busy in enumerate(seen.cores):
            yield f"{f'core {number}':10} {busy:5.1f}%  {'#' * round(busy * _BAR / 100)}".rstrip()
        yield "seconds since the start of the machine:"
        yield from since_boot_lines(seen.since_boot)


def since_boot_lines(cores: tuple[dict[str, float], ...]) -> Iterator[str]:
    """A table: a core a line, a kind of use a column."""
    kinds = list(cores[0]) if cores else []
    rows = ((number, *(f"{one.get(kind, 0.0):.2f}" for kind in kinds)) for number, one in enumerate(cores))
    head = ("CORE", *(kind.upper() for kind in kinds))
    return table(head, rows, right=head)


def memory_lines(memory: Memory, swap: Swap) -> Iterator[str]:
    """Memory and swap, as free(1) counts them."""
    yield from _labelled(
        [
            ("memory", size(memory.total)),
            ("  used", f"{size(memory.used)} ({_percent(memory.used, memory.total)})"),
            ("  available", f"{size(memory.available)} ({_percent(memory.available, memory.total)})"),
            ("  free", size(memory.free)),
            ("  cached", _ABSENT if memory.cached is None else size(memory.cached)),
            ("  shared", _ABSENT if memory.shared is None else size(memory.shared)),
            ("swap", size(swap.total) if swap.total else _ABSENT),
        ],
        12,
    )
    if swap.total:
        yield from _labelled([("  used", f"{size(swap.used)} ({_percent(swap.used, swap.total)})")], 12)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def disk_lines(disks: Iterable[Disk]) -> Iterator[str]:
    """A table as that of df(1)."""
    return table(
        ("SIZE", "USED", "FREE", "USE%", "INODES", "TYPE", "MOUNT"),
        (
            (
                size(one.total),
                size(one.used),
                size(one.free),
                f"{one.percent:.0f}%",
                _percent(one.inodes - (one.inodes_free or 0), one.inodes) if one.inodes else "-",
                one.type,
                one.mount,
            )
            for one in disks
        ),
        right=("SIZE", "USED", "FREE", "USE%", "INODES"),
    )


def network_lines(interfaces: Iterable[Interface]) -> Iterator[str]:
    """A table: an interface a line."""
    return table(
        ("NAME", "STATE", "RECEIVED", "SENT", "ERRORS", "DROPPED", "ADDRESSES"),
        (
            (
                one.name,
                "up" if one.up else "down",
                size(one.received),
                size(one.sent),
                one.errors,
                one.dropped,
                " ".join(one.addresses),
            )
            for one in interfaces
        ),
        right=("RECEIVED", "SENT", "ERRORS", "DROPPED"),
    )


def sensor_lines(seen: Sensors) -> Iterator[str]:
    """A line for each sensor, or one that there are none."""
    plugged = {True: ", plugged in", False: ", on battery", None: ""}[seen.plugged]
    return _labelled(
        chain(
            ((f"{name}", f"{value:.1f} °C") for name, value in seen.temperatures.items()),
            ((f"{name}", f"{value} turns a minute") for name, value in seen.fans.items()),
            [] if seen.temperatures else [("heat", _ABSENT)],
            [] if seen.fans else [("fans", _ABSENT)],
            [("battery", _ABSENT if seen.battery is None else f"{seen.battery:.0f}%{plugged}")],
        ),
        24,
    )


def pressure_lines(seen: Mapping[str, Pressure]) -> Iterator[str]:
    """A table: for each resource how long some, and all, had to wait."""
    if not seen:
        yield f"pressure {_ABSENT}: the kernel does not measure it (PSI: Linux 4.20, perhaps with psi=1 at boot)"
        return
    rows: list[tuple[str, ...]] = []
    for name, one in seen.items():
        kinds = [("some", one.some, one.some_seconds), ("all", one.full, one.full_seconds)]
        rows += [
            (name, kind, *(f"{value:.2f}%" for value in shares), duration(seconds))
            for kind, shares, seconds in kinds
            if shares is not None and seconds is not None
        ]
    header = ("WAITED FOR", "WHO", "10 S", "60 S", "300 S", "SINCE BOOT")
    yield from table(header, rows, right=header[2:])


def clock_lines(clock: Clock) -> Iterator[str]:
    """The local time first, as time.asctime writes it."""
    yield f"Local time is {datetime.fromisoformat(clock.local):%a %b %e %H:%M:%S %Y}"
    yield from _labelled(
        [
            ("zone", f"{clock.zone}, {clock.offset / 3600:+g} h"),
            ("UTC", clock.utc),
            ("epoch", f"{clock.epoch:.3f}"),
            ("up for", duration(clock.uptime)),
        ]
    )


def identity_lines(who: Identity) -> Iterator[str]:
    """One line for each thing; numbers with their names, as id(1) writes them."""
    groups = (_named(gid, name) for gid, name in zip(who.groups, who.group_names, strict=True))
    user, group = _named(who.uid, who.user), _named(who.gid, who.group)
    if who.euid != who.uid:
        user += f", acting as {_named(who.euid, who.effective_user)}"
    if who.egid != who.gid:
        group += f", acting as {_named(who.egid, who.effective_group)}"
    return _labelled(
        [
            ("pid", who.pid),
            ("parent", who.ppid),
            ("session", f"{who.session}, process group {who.pgid}"),
            ("terminal", who.terminal or "none"),
            ("folder", who.cwd or "gone: it was removed"),
            ("user", user),
            ("gid", group),
            ("groups", " ".join(groups)),
            ("umask", f"{who.umask:04o}"),
            ("home", who.home or _ABSENT),
        ]
    )


def _named(number: int, name: str | None) -> str:
    return f"{number} ({name or 'without a name'})"
