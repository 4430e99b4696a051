"""Finds processes on Linux, and signals exactly the intended one.

Standard library only and quick to import, because every launcher imports it. If the platform lacks something (macOS), functions
find nothing or return False; they do not raise for that.
"""

from __future__ import annotations

import os
import time
from _thread import get_native_id  # `threading` is large
from collections.abc import Callable, Collection, Iterable

from manyhands.core.lean import Final, NamedTuple, signal, suppress

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
    """Let orphaned descendants become children of this process (prctl(2)); return False if that is not possible."""
    try:
        import _ctypes  # what `ctypes` is made of: with the rest of it a launcher's start would take a fifth longer

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # as `ctypes.CDLL` does
        return bool(_ctypes.call_function(prctl, (_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0)
    except (ImportError, AttributeError, OSError):  # another Python than CPython, or macOS
        return False


def read_stat(pid: int) -> ProcStat | None:
    """The identity of a process; None if it does not exist. Its name may hold anything, so fields are counted from the last ')'."""
    line = _read(f"/proc/{pid}/stat")
    if not line:
        return None
    fields = line[line.rfind(b")") + 2 :].split(None, 20)
    return ProcStat(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode(), int(fields[19]))


def _read(path: str) -> bytes:
    """The content of a short file of /proc; empty if it cannot be read. Twice as fast as a file object, which matters in a scan."""
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
    """Every visible process, including zombies."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return [stat for name in names if name.isdigit() and (stat := read_stat(int(name)))]


class Look:
    """One scan of /proc, which finds the descendants of processes. It costs some 30 us per process, so several searches share one."""

    def __init__(self) -> None:
        self.found = {stat.pid: stat for stat in processes()}
        self._children: dict[int, list[ProcStat]] = {}
        for stat in self.found.values():
            self._children.setdefault(stat.ppid, []).append(stat)

    def below(self, roots: Collection[int]) -> list[ProcStat]:
        """All descendants of ``roots``, without the roots themselves."""
        found: dict[int, ProcStat] = {}
        todo = list(roots)
        while todo:
            for stat in self._children.get(todo.pop(), ()):
                if stat.pid not in found:  # a pid that was reused during the scan could make a cycle
                    found[stat.pid] = stat
                    todo.append(stat.pid)
        return [stat for stat in found.values() if stat.pid not in roots]


def descendants(roots: Collection[int]) -> list[ProcStat]:
    """All descendants of ``roots``, without the roots themselves, from one scan of /proc."""
    return Look().below(roots)


def has_ended(pid: int) -> bool:
    """Whether a process that nobody has reaped, a child of ours or of a child, has ended."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        stat = read_stat(pid)
        return stat is None or stat.state in "ZX"


def has_tag(pid: int, tag: bytes, *, prefix: bool = False) -> bool:
    """Whether the environment that ``pid`` was started with has the entry ``tag`` (``prefix``: one that begins with it)."""
    return b"\0" + tag + (b"" if prefix else b"\0") in _environ(pid)


def tag_of(pid: int, name: bytes = b"MH_TAG") -> bytes | None:
    """The value of ``name`` in the environment that ``pid`` was started with; None if it is missing or may not be read."""
    _, found, rest = _environ(pid).partition(b"\0" + name + b"=")
    return rest[: rest.index(b"\0")] if found else None


def _environ(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0" + file.read() + b"\0"
    except OSError:
        return b""


def send_signal_exact(pid: int, start: int, number: int) -> bool:
    """Signal ``pid`` only if it is still the process that began at ``start``; return False if it is not, or may not be signalled.

    The pidfd pins the process while its start time is checked (pidfd_open(2)); without pidfds a small race remains.
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
    with suppress(ProcessLookupError, PermissionError):  # macOS returns EPERM for a group of zombies
        os.killpg(leader, number)


def end_all(chosen: Callable[[ProcStat], bool], *, patience: float = 5.0, seen: Look | None = None) -> int:
    """KILL every process for which ``chosen`` is true, repeatedly until none is left; return how many there were. ``seen``: a scan
    of /proc that was made just now.

    Raises TimeoutError if some do not end within ``patience`` seconds (uninterruptible sleep).
    """
    ended: set[tuple[int, int]] = set()
    deadline = time.monotonic() + patience
    found: Iterable[ProcStat] = seen.found.values() if seen else processes()
    while living := [stat for stat in found if stat.state not in "ZX" and chosen(stat)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {living[0].pid} does not end")
        for stat in living:
            send_signal_exact(stat.pid, stat.start, signal.SIGKILL)
            ended.add((stat.pid, stat.start))
        time.sleep(0.002)
        found = processes()
    return len(ended)


def boot_id() -> str | None:
    """The id of this boot (random(4)); None if the system has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def process_alive(pid: int, start: int) -> bool:
    """Whether the process ``pid`` that began at ``start`` still runs. Without /proc the start time is not checked."""
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
    """(pid, start time, boot id) of this process; the start time is 0 if it is not known."""
    stat = read_stat(os.getpid())
    return os.getpid(), stat.start if stat else 0, boot_id()


class ChildrenFile:
    """The list of this process's children, kept open: reading it again costs one system call.

    Open it in the thread that starts the children. Adopted orphans are children of the main thread, so use it there only.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> ChildrenFile | None:
        """Open the list; None if the kernel has no such file (CONFIG_PROC_CHILDREN, proc(5))."""
        try:
            path = f"/proc/self/task/{get_native_id()}/children"
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None

    def read(self) -> set[int]:
        """The pids of all children, including zombies."""
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
