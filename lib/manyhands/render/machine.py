"""The machine and its processes in words: what ``host.info``, ``host.identity`` and ``fork-demo`` print."""

from __future__ import annotations

from collections.abc import Iterator

from manyhands.forks import ForkEvent, ForkReport
from manyhands.host import HostInfo, Identity
from manyhands.render.runs import size
from manyhands.render.summary import duration

_ABSENT = "not available"


def info_lines(info: HostInfo) -> Iterator[str]:
    """One line for each thing; what the machine lacks says so."""
    quota = f"{info.quota_cores:g}" if info.quota_cores is not None else "none"
    rows = [
        ("host", info.node),
        ("system", f"{info.distribution or info.system}, {info.system} {info.kernel} on {info.machine}"),
        ("cores", f"{info.cores}, of which this process may use {info.usable_cores} (quota: {quota})"),
        ("load", " ".join(f"{value:.2f}" for value in info.load) if info.load else _ABSENT),
        ("memory", f"{size(info.memory.total)}, {size(info.memory.available)} available"),
        ("swap", f"{size(info.swap.total)}, {size(info.swap.used)} used" if info.swap.total else _ABSENT),
        *(("disk", f"{disk.mount}: {size(disk.total)}, {size(disk.free)} free ({disk.type})") for disk in info.disks),
        *(
            ("network", f"{one.name}: {', '.join(one.addresses) or 'no address'}{'' if one.up else ' (down)'}")
            for one in info.network
        ),
        ("sensors", ", ".join(f"{name} {value:.0f} °C" for name, value in (info.temperatures or {}).items()) or _ABSENT),
        ("battery", f"{info.battery_percent:.0f}%" if info.battery_percent is not None else _ABSENT),
        ("booted", f"{info.booted}, up for {duration(info.uptime)}"),
        ("users", ", ".join(info.users) or "nobody is logged in"),
        ("python", info.python),
    ]
    return (f"{label:8} {value}" for label, value in rows)


def identity_lines(who: Identity) -> Iterator[str]:
    """One line for each thing."""
    rows = {
        "pid": who.pid, "parent": who.ppid, "folder": who.cwd, "user": f"{who.uid} ({who.user})", "group": who.gid,
        "groups": " ".join(map(str, who.groups)),
    }  # fmt: skip
    return (f"{label:8} {value}" for label, value in rows.items())


def fork_line(event: ForkEvent) -> str:
    """``  0.001 s  child   pid 4711  fork returned 0: I am the child, and my parent is 4710``."""
    return f"{event.elapsed:7.3f} s  {event.who:6}  pid {event.pid}  {event.text}"


def fork_verdict(report: ForkReport) -> str:
    """What was seen, in a sentence."""
    count = len(report.exits)
    if not report.as_expected:
        return f"not as expected: parent {report.parent}, children saw {report.parents_seen}, reaped {report.exits}"
    children = "1 child" if count == 1 else f"{count} children"
    return f"fork was called {count} times and returned {2 * count} times: {children} of {report.parent}, all reaped"
