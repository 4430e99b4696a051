"""Lists and selects the processes of this machine. Based on psutil, which is imported when it is needed.

A process is identified by its pid and the moment it began, because pids are reused.
"""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from manyhands.core.errors import UsageError
from manyhands.core.records import dataclass, replace
from manyhands.posix import linux

if TYPE_CHECKING:
    pass

_STATES: Final = {
    "running": "R",
    "sleeping": "S",
    "disk-sleep": "D",
    "stopped": "T",
    "tracing-stop": "t",
    "zombie": "Z",
    "dead": "X",
    "wake-kill": "K",
    "waking": "W",
    "idle": "I",
    "locked": "L",
    "waiting": "W",
    "parked": "P",
}
_ATTRIBUTES: Final = ["uids", "status", "cpu_times", "memory_info", "name", "cmdline"]
_SLOW_ATTRIBUTES: Final = ["ppid", "create_time"]
"""For these psutil checks each time whether the pid was reused, and when the machine was booted."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process at one moment, as in ps(1). ``state`` is ps's letter; ``cpu`` seconds of CPU since its start, ``percent``
    that divided by its age; ``memory`` resident bytes; ``started`` seconds since the epoch; ``start`` is what the
    kernel identifies it by, in ticks since boot, 0 if that is not known."""

    pid: int
    ppid: int
    user: str
    state: str
    name: str
    argv: tuple[str, ...]
    started: float
    age: float
    cpu: float
    percent: float
    memory: int
    start: int = 0

    @property
    def command(self) -> str:
        """Its command line; for a process without one (a kernel thread, a zombie) its name in brackets."""
        return " ".join(self.argv) if self.argv else f"[{self.name}]"

    @property
    def is_kernel_thread(self) -> bool:
        """Whether it is part of the kernel: kthreadd, or a child of it (Linux)."""
        return not self.argv and self.state != "Z" and (self.pid == 2 or self.ppid == 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Selects processes; all given conditions must be true. ``names``: the program's name exactly, or a pattern of
    glob(7); ``cmdline``: a regular expression found in the command line; ``older_than`` in seconds."""

    pids: Sequence[int] = ()
    names: Sequence[str] = ()
    users: Sequence[str] = ()
    ports: Sequence[int] = ()
    cmdline: Sequence[re.Pattern[str]] = ()
    older_than: float | None = None

    def __bool__(self) -> bool:
        return bool(self.pids or self.names or self.users or self.ports or self.cmdline or self.older_than is not None)

    def chooses(self, info: ProcessInfo, listening: Mapping[int, set[int]]) -> bool:
        """Whether ``info`` is selected; ``listening`` has the ports of each pid."""
        return (
            (not self.pids or info.pid in self.pids)
            and (not self.names or any(_is_named(info, name) for name in self.names))
            and (not self.users or info.user in self.users)
            and (not self.ports or bool(listening.get(info.pid, set()).intersection(self.ports)))
            and all(pattern.search(info.command) for pattern in self.cmdline)
            and (self.older_than is None or info.age > self.older_than)
        )


def _is_named(info: ProcessInfo, name: str) -> bool:
    program = os.path.basename(info.argv[0]) if info.argv else info.name
    return any(fnmatch.fnmatchcase(one, name) for one in (info.name, program))


def list_processes(selector: Selector | None = None) -> list[ProcessInfo]:
    """Every process that can be seen, or those chosen, by pid. Raises UsageError for a user that does not exist."""
    import psutil

    selector = selector or Selector()
    for user in selector.users:
        _check_user(user)
    listening = ports_by_pid() if selector.ports else {}
    # The identities first: if a pid is reused before psutil reads it, it has the start of the former process, and is not signalled.
    identities = {one.pid: one for one in linux.processes()}
    users: dict[int, str] = {}
    now, booted = time.time(), psutil.boot_time()
    found = []
    # fields without permission, or of a process that is gone, are None; only the pid is always given
    for process in psutil.process_iter(_ATTRIBUTES if identities else [*_ATTRIBUTES, *_SLOW_ATTRIBUTES]):
        if identities and process.pid not in identities:
            continue  # born since
        info = _info(process.pid, process.info, identities.get(process.pid), users, now, booted)
        if selector.chooses(info, listening):
            found.append(info)
    return sorted(found, key=lambda one: one.pid)


def process_info(pid: int) -> ProcessInfo | None:
    """One process; None if it does not exist."""
    import psutil

    stat = linux.read_stat(pid)
    try:
        seen = psutil.Process(pid).as_dict([*_ATTRIBUTES, *_SLOW_ATTRIBUTES])
    except psutil.Error:
        return None
    return _info(pid, seen, stat, {}, time.time(), psutil.boot_time())


def _info(
    pid: int, seen: Mapping[str, Any], stat: linux.ProcStat | None, users: dict[int, str], now: float, booted: float
) -> ProcessInfo:
    """A `ProcessInfo` from psutil's values."""
    uids, times, memory = (seen[name] for name in ("uids", "cpu_times", "memory_info"))
    started = booted + stat.start / _TICKS if stat else seen["create_time"] or 0.0
    cpu = times.user + times.system if times else 0.0
    age = max(now - started, 0.0) if started else 0.0
    return ProcessInfo(
        pid=pid,
        ppid=stat.ppid if stat else seen["ppid"] or 0,
        user=user_name(uids.effective, users) if uids else "?",
        state=_STATES.get(seen["status"] or "", "?"),
        name=seen["name"] or "?",
        argv=tuple(seen["cmdline"] or ()),
        started=started,
        age=age,
        cpu=cpu,
        percent=100 * cpu / age if age else 0.0,
        memory=memory.rss if memory else 0,
        start=stat.start if stat else 0,
    )


def user_name(uid: int, known: dict[int, str]) -> str:
    """The name of a user, or the number of one without a name; ``known`` caches the names."""
    import pwd

    if uid not in known:
        try:
            known[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            known[uid] = str(uid)
    return known[uid]


def _check_user(user: str) -> None:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        if not user.isdigit():
            raise UsageError(f"--user {user}: there is no such user") from None


# -- ports ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for others. ``pid`` is None if the process belongs to another user, and we may not see it."""

    protocol: str
    address: str
    port: int
    pid: int | None
    name: str | None = None
    user: str | None = None


def listeners(port: int | None = None) -> list[Listener]:
    """TCP sockets that listen, UDP sockets that are bound; all, or those on one port."""
    import psutil

    users: dict[int, str] = {}
    found = []
    for one in _sockets():
        is_udp = one.type == 2  # SOCK_DGRAM
        if not one.laddr or one.raddr or not (is_udp or one.status == "LISTEN") or port not in (None, one.laddr.port):
            continue
        name = user = None
        if one.pid is not None:
            with suppress(psutil.Error):
                process = psutil.Process(one.pid)
                name, user = process.name(), user_name(process.uids().effective, users)
        found.append(Listener("udp" if is_udp else "tcp", one.laddr.ip, one.laddr.port, one.pid, name, user))
    return sorted(found, key=lambda one: (one.port, one.protocol, one.address, one.pid or 0))


def ports_by_pid() -> dict[int, set[int]]:
    """The ports that each process listens on."""
    found: dict[int, set[int]] = {}
    for one in listeners():
        if one.pid is not None:
            found.setdefault(one.pid, set()).add(one.port)
    return found


def hidden_listeners(port: int) -> list[Listener]:
    """The sockets on ``port`` whose process we may not see, with the user who opened them, if the system reports it."""
    return [one for one in with_users(listeners(port)) if one.pid is None]


def with_users(found: Sequence[Listener]) -> list[Listener]:
    """``found``, where those whose process we may not see have the user who opened them, if the system reports it."""
    if all(one.pid is not None for one in found):
        return list(found)
    users: dict[int, str] = {}
    owners: dict[tuple[str, int], set[str]] = {}
    for protocol, port, uid in _owners():
        owners.setdefault((protocol, port), set()).add(user_name(uid, users))
    return [
        replace(one, user=", ".join(sorted(owners.get((one.protocol, one.port), ()))) or None) if one.pid is None else one
        for one in found
    ]


def _owners() -> Iterator[tuple[str, int, int]]:
    """(protocol, port, uid) of the sockets that wait, from /proc/net (proc(5)), which every user may read."""
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError), open(f"/proc/net/{name}", encoding="ascii") as table:
            for fields in map(str.split, table):
                if fields[3] == ("0A" if name.startswith("tcp") else "07"):  # TCP_LISTEN, TCP_CLOSE
                    yield name[:3], int(fields[1].rpartition(":")[2], 16), int(fields[7])


def _sockets() -> Iterable[Any]:
    import psutil

    try:
        return psutil.net_connections(kind="inet")
    except psutil.AccessDenied:  # macOS lists all sockets only for root
        return _own_sockets()


def _own_sockets() -> Iterator[Any]:
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            for one in process.net_connections(kind="inet"):
                yield psutil._ntuples.sconn(-1, one.family, one.type, one.laddr, one.raddr, one.status, process.pid)


# -- zombies and orphans -------------------------------------------------------------------------------------------------


def zombies() -> list[ProcessInfo]:
    """Processes that have ended and whose parent has not collected them (wait(2))."""
    return [one for one in list_processes() if one.state == "Z"]


def orphans() -> list[ProcessInfo]:
    """Processes whose first parent has ended, so that init or a child subreaper has adopted them.

    A child is in its parent's session until it leads one of its own (setsid(2)). So a process that leads none, but is in another
    session than its parent, has been adopted. One that leads a session cannot be distinguished from a service, and is not listed.
    """
    sessions = {one.pid: (one.session, one.ppid) for one in linux.processes()} or _sessions()
    adopted = {
        pid
        for pid, (session, parent) in sessions.items()
        if session not in (0, pid) and parent in sessions and sessions[parent][0] != session
    }
    return [one for one in list_processes() if one.pid in adopted and one.state != "Z"]


def _sessions() -> dict[int, tuple[int, int]]:
    """(session, parent) by pid, for systems without /proc."""
    found = {}
    for one in list_processes():
        with suppress(OSError):
            found[one.pid] = os.getsid(one.pid), one.ppid
    return found


# -- family ----------------------------------------------------------------------------------------------------------------


def ancestors(pid: int) -> list[int]:
    """The pids of a process's parent, its parent, and so on."""
    parents = {one.pid: one.ppid for one in linux.processes()} or {one.pid: one.ppid for one in list_processes()}
    found: list[int] = []
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.append(pid)
    return found


@dataclass(frozen=True, slots=True)
class Branch:
    """A process and its children, by pid."""

    info: ProcessInfo
    children: tuple[Branch, ...]


def process_tree(pid: int | None = None) -> list[Branch]:
    """The tree with ``pid`` at its root; None: all trees. Raises UsageError if there is no such process."""
    infos = {one.pid: one for one in list_processes()}
    if pid is not None and pid not in infos:
        raise UsageError(f"there is no process {pid}")
    below: dict[int, list[int]] = {}
    for one in infos.values():
        below.setdefault(one.ppid if one.ppid in infos and one.ppid != one.pid else 0, []).append(one.pid)

    def branch(at: int) -> Branch:
        return Branch(infos[at], tuple(branch(child) for child in below.get(at, [])))

    return [branch(root) for root in ([pid] if pid is not None else below.get(0, []))]
