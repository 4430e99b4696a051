"""Processes as tables, trees and sentences for people, and as records for JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from manyhands.core.encoding import argv_or_base64, iso, text_or_base64
from manyhands.core.safe_text import one_line
from manyhands.processes.listing import Branch, Listener, ProcessInfo
from manyhands.render.words import duration, size

if TYPE_CHECKING:
    from manyhands.processes.details import Details, Socket
    from manyhands.processes.resource_limits import Limit, ResourceLimits

_DENIED = "no permission to know"
_LONG = 100_000


def list_lines(infos: Iterable[ProcessInfo], width: int | None) -> Iterator[str]:
    """A table, the header first; ``width`` None: lines as long as the commands are."""
    yield f"{'PID':>7} {'PPID':>7} {'USER':10} S {'%CPU':>5} {'MEMORY':>9} {'AGE':>11}  COMMAND"
    for one in infos:
        head = (
            f"{one.pid:>7} {one.ppid:>7} {one_line(one.user, 10):10} {one.state} {one.percent:5.1f} {size(one.memory):>9} "
            f"{duration(one.age):>11}  "
        )
        room = _LONG if width is None else max(10, width - len(head))
        yield head + one_line(one.command if len(one.command) <= room else without_folder(one), room)


def without_folder(one: ProcessInfo) -> str:
    """The command of a process without the folder of its program, which says least."""
    folder, slash, _ = (one.argv[0] if one.argv else "").rpartition("/")
    return one.command.replace(folder + slash, "", 1) if slash and one.command.startswith(folder) else one.command


def info_record(one: ProcessInfo, schema: str = "manyhands.process/1") -> dict[str, Any]:
    """A process as a JSON object."""
    return {
        "schema": schema,
        "pid": one.pid,
        "ppid": one.ppid,
        "user": one.user,
        "state": one.state,
        **text_or_base64("name", os.fsencode(one.name)),
        **argv_or_base64([os.fsencode(word) for word in one.argv]),
        "started": iso(one.started),
        "age": one.age,
        "cpu": one.cpu,
        "percent": one.percent,
        "memory_bytes": one.memory,
    }


def tree_lines(branches: Sequence[Branch], width: int | None) -> Iterator[str]:
    """Each process on a line, below its parent, with its pid, as pstree(1) with -p -a draws it."""
    for root in branches:
        yield _branch_line("", root, width)
        yield from _below(root, "", width)


def _below(branch: Branch, margin: str, width: int | None) -> Iterator[str]:
    for place, child in enumerate(branch.children):
        last = place + 1 == len(branch.children)
        yield _branch_line(margin + ("└─" if last else "├─"), child, width)
        yield from _below(child, margin + ("  " if last else "│ "), width)


def _branch_line(margin: str, branch: Branch, width: int | None) -> str:
    head = f"{margin}{branch.info.pid} "
    return head + one_line(branch.info.command, _LONG if width is None else max(10, width - len(head)))


def branch_record(branch: Branch) -> dict[str, Any]:
    """A tree as nested JSON objects."""
    return info_record(branch.info) | {"children": [branch_record(child) for child in branch.children]}


def details_lines(found: Details) -> Iterator[str]:
    """A line for each thing; what may not be known says so."""
    for label, value in _details(found):
        yield f"{label:12} {_DENIED if value is None else one_line(str(value), 1000)}"
    yield from (f"  {one_line(path, 1000)}" for path in found.files or ())
    yield f"{'sockets':12} {_DENIED if found.sockets is None else len(found.sockets)}"
    for one in found.sockets or ():
        yield f"  {one.protocol} {one.local}{f' to {one.remote}' if one.remote else ''} {one.state.lower()}"
    yield f"{'limits':12} {_DENIED if found.limits is None else 'soft, hard'}"
    yield from _limit_lines(found.limits or {})
    if found.environment is not None:
        yield "environment"
        yield from (f"  {one_line(f'{name}={value}', 1000)}" for name, value in found.environment.items())


def _details(found: Details) -> Iterator[tuple[str, object]]:
    """What one line is enough for; None: it may not be known."""
    info = found.info
    started = datetime.fromtimestamp(info.started).strftime("%Y-%m-%d %H:%M:%S")
    yield "process", f"{info.pid} {info.name} ({info.state})"
    yield "command", info.command
    yield "parent", f"{info.ppid} {found.parent or '?'}"
    yield "children", ", ".join(f"{pid} {name}" for pid, name in found.children) or "none"
    yield "user", info.user
    yield "program", found.exe
    yield "folder", found.cwd
    yield "terminal", found.terminal or "none"
    yield "started", f"{started}, {duration(info.age)} ago"
    yield "cpu", _cpu(found)
    yield "memory", _memory(found)
    yield "threads", found.threads
    yield "nice", found.nice
    yield "descriptors", found.descriptors
    yield "files", None if found.files is None else len(found.files)


def _cpu(found: Details) -> str | None:
    if found.user_seconds is None or found.system_seconds is None:
        return None
    return f"{found.user_seconds:.2f} s of user, {found.system_seconds:.2f} s of system, {found.info.percent:.1f}%"


def _memory(found: Details) -> str | None:
    if found.rss is None or found.virtual is None:
        return None
    return f"{size(found.rss)} resident, {size(found.virtual)} virtual"


def _limit_lines(limits: Mapping[str, Limit]) -> Iterator[str]:
    for name, pair in limits.items():
        soft, hard = ("endless" if limit is None else f"{limit:,}" for limit in pair)
        yield f"  {name:14} {soft}, {hard}"


def allowance_lines(found: ResourceLimits) -> Iterator[str]:
    """What may be used: the machine's first, then what is less, then the limits of setrlimit(2)."""
    bound = "not bound" if found.affinity is None else f"bound to {len(found.affinity)}"
    quota = "none" if found.quota_cores is None else f"{found.quota_cores:g}"
    group = "none" if found.memory_limit_bytes is None else size(found.memory_limit_bytes)
    pids = "none" if found.cgroup_processes is None else f"{found.cgroup_processes:,}"
    now = "" if found.cgroup_processes_now is None else f" ({found.cgroup_processes_now:,} now)"
    shm = "not available" if found.shm_total_bytes is None else size(found.shm_total_bytes)
    yield f"{'cores':12} {found.usable_cores} usable: {found.cores} there, {bound}, quota {quota}"
    yield f"{'memory':12} {size(found.memory_available_bytes)} available of {size(found.memory_total_bytes)}; cgroup's limit: {group}"
    yield f"{'/dev/shm':12} {shm}"  # noqa: S108
    yield f"{'processes':12} cgroup's limit: {pids}{now}; pids of the machine: {_count(found.system_processes)}"
    yield f"{'files':12} of the machine: {_count(found.system_open_files)}"
    yield f"{'nice':12} {found.nice}"
    yield f"{'limits':12} soft, hard"
    yield from _limit_lines(found.limits)


def _count(number: int | None) -> str:
    return "not available" if number is None else f"{number:,}"


def details_record(found: Details) -> dict[str, Any]:
    """All about a process as a JSON object; null: no permission to know."""
    sockets = limits = None
    if found.sockets is not None:
        sockets = [_socket_record(one) for one in found.sockets]
    if found.limits is not None:
        limits = {name: {"soft": soft, "hard": hard} for name, (soft, hard) in found.limits.items()}
    return info_record(found.info, "manyhands.process.details/1") | {
        "parent": found.parent,
        "children": [{"pid": pid, "name": name} for pid, name in found.children],
        "exe": found.exe,
        "cwd": found.cwd,
        "terminal": found.terminal,
        "nice": found.nice,
        "threads": found.threads,
        "user": found.user_seconds,
        "system": found.system_seconds,
        "user_name": found.info.user,
        "rss_bytes": found.rss,
        "virtual_bytes": found.virtual,
        "descriptors": found.descriptors,
        "files": None if found.files is None else list(found.files),
        "sockets": sockets,
        "limits": limits,
        "environment": None if found.environment is None else dict(found.environment),
    }


def listener_line(one: Listener) -> str:
    """``tcp 127.0.0.1:6379  4711 redis-server (redis)``."""
    who = (
        "a process of another user"
        if one.pid is None
        else f"{one.pid} {one_line(one.name or '?', 40)} ({one.user or '?'})"
    )
    address = f"[{one.address}]" if ":" in one.address else one.address
    return f"{one.protocol} {address}:{one.port}  {who}"


def _socket_record(one: Socket) -> dict[str, Any]:
    return {"protocol": one.protocol, "local": one.local, "remote": one.remote, "state": one.state}


def listener_record(one: Listener) -> dict[str, Any]:
    """A socket that waits as a JSON object."""
    return {
        "schema": "manyhands.listener/1",
        "protocol": one.protocol,
        "address": one.address,
        "port": one.port,
        "pid": one.pid,
        "name": one.name,
        "user": one.user,
    }
