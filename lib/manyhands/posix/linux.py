"""What Linux offers to find processes and to signal exactly the one that was meant.

Standard library only and quick to import, because every launcher imports it. Where the platform lacks something (macOS),
functions find nothing or say no; they never raise for it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, NamedTuple

_PR_SET_CHILD_SUBREAPER: Final = 36  # <linux/prctl.h>


class ProcStat(NamedTuple):
    """The part of /proc/PID/stat (proc(5)) that identifies a process; ``start`` is in clock ticks since boot."""

    pid: int
    ppid: int
    pgid: int
    session: int
    state: str
    start: int


def become_subreaper() -> bool:
    """Let orphaned descendants become children of this process (prctl(2)); False where that cannot be had."""
    import ctypes

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return prctl is not None and prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def read_stat(pid: int) -> ProcStat | None:
    """The identity of a process; None when there is none. Its name may hold anything, so fields count from the last ')'."""
    line = _read(f"/proc/{pid}/stat")
    if not line:
        return None
    fields = line[line.rfind(b")") + 2 :].split(None, 20)
    return ProcStat(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode(), int(fields[19]))


def _read(path: str) -> bytes:
    """What a short file of /proc says; nothing when it cannot be read. Twice as fast as a file object, which matters in a scan."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, 4096)
    except OSError:
        return b""
    finally:
        os.close(file)


def processes() -> list[ProcStat]:
    """Every process that can be seen, zombies included."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return [stat for name in names if name.isdigit() and (stat := read_stat(int(name)))]


class Look:
    """One look at /proc: which process is below which. To look costs some 30 us a process, so that many questions share one."""

    def __init__(self) -> None:
        self.found = {stat.pid: stat for stat in processes()}
        self._children: dict[int, list[ProcStat]] = {}
        for stat in self.found.values():
            self._children.setdefault(stat.ppid, []).append(stat)

    def below(self, roots: Collection[int]) -> list[ProcStat]:
        """Everything below ``roots``, without the roots themselves."""
        found: dict[int, ProcStat] = {}
        todo = list(roots)
        while todo:
            for stat in self._children.get(todo.pop(), ()):
                if stat.pid not in found:  # a pid that was used again during the look could make a circle
                    found[stat.pid] = stat
                    todo.append(stat.pid)
        return [stat for stat in found.values() if stat.pid not in roots]


def descendants(roots: Collection[int]) -> list[ProcStat]:
    """Everything below ``roots``, without the roots themselves, from one look at /proc."""
    return Look().below(roots)


def has_tag(pid: int, tag: bytes, *, prefix: bool = False) -> bool:
    """Whether the environment that ``pid`` was started with holds the entry ``tag`` (or one that begins so)."""
    return b"\0" + tag + (b"" if prefix else b"\0") in _environ(pid)


def tag_of(pid: int, name: bytes = b"MH_TAG") -> bytes | None:
    """What ``name`` is in the environment that ``pid`` was started with; None when it is not there or may not be read."""
    _, found, rest = _environ(pid).partition(b"\0" + name + b"=")
    return rest[: rest.index(b"\0")] if found else None


def _environ(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0" + file.read() + b"\0"
    except OSError:
        return b""


def send_signal_exact(pid: int, start: int, number: int) -> bool:
    """Signal ``pid`` only if it is still the process that began at ``start``; False when it is not, or may not be signalled.

    The pidfd pins the process while its start time is checked (pidfd_open(2)); where there is none, a small race stays.
    """
    try:
        pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
    except OSError:
        return False
    try:
        stat = read_stat(pid)
        if stat is None or stat.start != start:
            return False
        if pidfd >= 0:
            signal.pidfd_send_signal(pidfd, number)
        else:
            os.kill(pid, number)
    except OSError:
        return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    return True


def signal_group(leader: int, number: int) -> None:
    """Signal the process group of an unreaped leader."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(leader, number)


def end_all(chosen: Callable[[ProcStat], bool], *, patience: float = 5.0) -> int:
    """KILL every process that is ``chosen``, again and again until none is left; returns how many there were.

    Raises TimeoutError when some will not go within ``patience`` seconds (uninterruptible sleep).
    """
    ended: set[tuple[int, int]] = set()
    deadline = time.monotonic() + patience
    while living := [stat for stat in processes() if stat.state not in "ZX" and chosen(stat)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {living[0].pid} does not end")
        for stat in living:
            send_signal_exact(stat.pid, stat.start, signal.SIGKILL)
            ended.add((stat.pid, stat.start))
        time.sleep(0.002)
    return len(ended)


def boot_id() -> str | None:
    """What distinguishes this boot from all others (random(4)); None where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def process_alive(pid: int, start: int) -> bool:
    """Whether the process that began at ``start`` still runs. Without /proc the start time cannot be checked."""
    stat = read_stat(pid)
    if stat is not None:
        return stat.start == start and stat.state != "Z"
    if start:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def own_identity() -> tuple[int, int, str | None]:
    """(pid, start time, boot id) of this process; the start time is 0 where it cannot be known."""
    stat = read_stat(os.getpid())
    return os.getpid(), stat.start if stat else 0, boot_id()


class ChildrenFile:
    """The list of this process's children, kept open: reading it again costs one system call.

    Made by the thread that starts the children; adopted orphans come to the main thread, so use it there only.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> ChildrenFile | None:
        """None where the kernel has no such file (CONFIG_PROC_CHILDREN, proc(5))."""
        try:
            path = f"/proc/self/task/{threading.get_native_id()}/children"
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None

    def read(self) -> set[int]:
        """The pids of all children, zombies included."""
        data = os.pread(self._descriptor, 1 << 16, 0)
        if len(data) >= 4000:  # more than a page: the kernel gives one part at a time
            parts = [data]
            while part := os.pread(self._descriptor, 1 << 16, sum(map(len, parts))):
                parts.append(part)
            data = b"".join(parts)
        return set(map(int, data.split()))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
