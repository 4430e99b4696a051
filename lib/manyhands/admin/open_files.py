"""Which files a process has open for writing.

/proc tells which process that is, for those that we may look into. The kernel refuses a lease (fcntl(2), F_SETLEASE) as long as
any process has the file open for writing or mapped. While we hold one, a process that opens the file waits until we are done.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from manyhands.core.errors import ManyhandsError
from manyhands.core.records import dataclass

File = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Writers:
    """``found``: names of processes, with their pids, that have a file open for writing; ``unseen``: how many processes could not be looked
    into."""

    found: dict[File, list[str]]
    unseen: int


def writers(files: Collection[File]) -> Writers:
    """Who has one of ``files`` open for writing. Raises ManyhandsError where there is no /proc."""
    if not os.path.isdir("/proc/self/fdinfo"):
        raise ManyhandsError("there is no /proc as Linux has it, so it cannot be known which files are in use")
    found: dict[File, list[str]] = {}
    unseen = 0
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            unseen += _has_memory(pid)
            continue
        except OSError:  # it has ended
            continue
        for file in {file for number in numbers if (file := _written(pid, number, files))}:
            found.setdefault(file, []).append(f"{_name(pid)} ({pid})")
    return Writers(found, unseen)


@contextmanager
def unwritten(file: int) -> Iterator[bool]:
    """Whether nobody has the open ``file`` open for writing, and meanwhile nobody will: who opens it waits. True, too, if the kernel
    cannot tell: on other systems, network file systems, or for a file that is not ours."""
    held = _lease(file)
    try:
        yield held is not False
    finally:
        if held:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _lease(file: int) -> bool | None:
    """True: it is held; False: somebody writes; None: there are none."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fcntl.fcntl(
            file, fcntl.F_SETSIG, signal.SIGURG
        )  # to whoever holds the lease when it is to end; SIGIO would kill us
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _written(pid: str, number: str, files: Collection[File]) -> File | None:
    """The file that a descriptor is for, if it is one of ``files`` and open for writing."""
    with suppress(OSError):  # closed meanwhile
        status = os.stat(f"/proc/{pid}/fd/{number}")
        file = (status.st_dev, status.st_ino)
        if file in files:
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="utf-8") as about:
                flags = next((int(line.split()[1], 8) for line in about if line.startswith("flags:")), 0)
            return file if flags & os.O_ACCMODE != os.O_RDONLY else None
    return None


def _has_memory(pid: str) -> bool:
    """Whether it is more than a thread of the kernel, which has no files."""
    with suppress(OSError, IndexError), open(f"/proc/{pid}/statm", encoding="utf-8") as about:
        return about.read().split()[0] != "0"
    return False


def _name(pid: str) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as about:
        return about.read().strip()
    return "a process"
