"""Who listens where, and since when; what is new since it was last remembered."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from manyhands.admin.memory import Memory
from manyhands.admin.report import counted, report
from manyhands.core.encoding import iso
from manyhands.core.errors import ManyhandsError
from manyhands.core.level import Level
from manyhands.core.records import dataclass, replace
from manyhands.options.admin import ListenersOptions
from manyhands.processes.listing import Listener, listeners, process_info, user_name, with_users

_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True, slots=True)
class Listening:
    """A TCP socket that listens, or a UDP socket that is bound. ``bound_to``: all addresses, loopback, or one; ``pid``: of the
    first process that has it, which began at ``since``; ``state``: known, new or gone, None if nothing is remembered. None stands
    for what may not be seen."""

    protocol: str
    address: str
    port: int
    bound_to: str
    program: str | None
    pid: int | None
    user: str | None
    since: str | None
    state: str | None
    level: Level


class Key(NamedTuple):
    """By what a listener is recognised: not by its pid, so that a restart is no news. ``port``: 0 for a UDP socket on one of the ports
    that the kernel gives to who asks for any."""

    protocol: str
    address: str
    port: int
    program: str | None
    user: str | None

    def is_in(self, others: Collection[Key]) -> bool:
        """Whether one of ``others`` is the same; what either look might not see is taken for the same."""
        return any(
            self[:3] == other[:3]
            and (None in (self.program, other.program) or (self.program, self.user) == (other.program, other.user))
            for other in others
        )


def show_listeners(options: ListenersOptions) -> int:
    """Print who listens, and keep it if that is wanted."""
    memory = Memory("listeners", options.state_dir)
    kept = memory.load()
    before = None if kept is None else _keys_in(kept)
    seen = {one: _key(one) for one in map(_first, with_users(listeners()))}
    rows = [_row(one, None if before is None else "known" if key.is_in(before) else "new") for one, key in seen.items()]
    rows += [_gone(key) for key in before or () if not key.is_in(seen.values())]
    if options.remember:
        memory.keep({"at": iso(time.time()), "listeners": [list(key) for key in dict.fromkeys(seen.values())]})
    return report(
        [one for one in rows if one.bound_to != "loopback" or not options.public],
        schema="listener",
        summary=_summary(rows, kept, remembered=options.remember),
        header=("listens on", "bound to", "program", "pid", "user", "since", "seen"),
        cells=_cells,
        right=("pid",),
        json=options.json,
    )


def _summary(rows: list[Listening], kept: dict[str, Any] | None, *, remembered: bool) -> str:
    here = [one for one in rows if one.state != "gone"]
    everywhere, unseen = (sum(one.bound_to == "all" for one in here), sum(one.pid is None for one in here))
    said = f"{counted(len(here), 'listener')}, {everywhere} on all addresses"
    if kept is not None:
        new, gone = (sum(one.state == state for one in rows) for state in ("new", "gone"))
        said += f"; {new} new{f', {gone} gone' if gone else ''} since {str(kept['at'])[:16].replace('T', ' ')}"
    elif not remembered:
        said += "; nothing is remembered yet: --remember"
    said += f"; {unseen} whose process may not be seen" if unseen else ""
    return said + ("; remembered" if remembered else "")


def _keys_in(kept: dict[str, Any]) -> list[Key]:
    try:
        return [Key(str(a), str(b), int(c), d, e) for a, b, c, d, e in kept["listeners"]]
    except (KeyError, TypeError, ValueError):
        raise ManyhandsError("what is remembered of listeners is damaged: remove it, see --state-dir") from None


def _first(one: Listener) -> Listener:
    """With the process that opened it, where its children have it, too, as a server's workers do."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(one.pid) if one.pid is not None else None
        while process and (parent := process.parent()) and parent.name() == one.name and _has(parent, one):
            process = parent
        if process:
            return replace(one, pid=process.pid, user=user_name(process.uids().effective, {}))
    return one


def _has(process: Any, one: Listener) -> bool:
    return any(
        other.laddr[:2] == (one.address, one.port) and (other.type == 2) == (one.protocol == "udp")
        for other in process.net_connections()
    )


def _key(one: Listener) -> Key:
    first, last = _ports_for_any()
    port = 0 if one.protocol == "udp" and first <= one.port <= last else one.port
    return Key(one.protocol, one.address, port, one.name, one.user)


def _ports_for_any() -> tuple[int, int]:
    """The ports that the kernel gives to who asks for any (ip(7), ip_local_port_range); without Linux, those of IANA (RFC 6335)."""
    try:
        first, last = map(int, _PORTS.read_text().split())
    except (OSError, ValueError):
        return 49152, 65535
    return first, last


def _bound_to(address: str) -> str:
    found = ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return "all" if found.is_unspecified else "loopback" if found.is_loopback else "one"


def _row(one: Listener, state: str | None) -> Listening:
    process = None if one.pid is None else process_info(one.pid)
    since = process.started if process and process.started else None
    level = Level.WARNING if state == "new" else Level.OK
    bound_to = _bound_to(one.address)
    return Listening(one.protocol, one.address, one.port, bound_to, one.name, one.pid, one.user, iso(since), state, level)


def _gone(key: Key) -> Listening:
    protocol, address, port, program, user = key
    return Listening(protocol, address, port, _bound_to(address), program, None, user, None, "gone", Level.OK)


def _cells(row: Listening) -> tuple[object, ...]:
    address = f"[{row.address}]" if ":" in row.address else row.address
    where = f"{row.protocol} {address}:{row.port or '*'}"
    since = (row.since or "").replace("T", " ")[:16]
    since = since[5:] if since[:4] == time.strftime("%Y") else since[:10]
    seen = row.state if row.state in ("new", "gone") else ""
    return where, row.bound_to, row.program or "?", row.pid or "", row.user or "?", since, seen
