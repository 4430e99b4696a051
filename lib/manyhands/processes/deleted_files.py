"""Files that have no name any more, but take room on their disk, because processes have them open, or run them (Linux)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from manyhands.core.records import dataclass
from manyhands.posix import linux

_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class DeletedFile:
    """A file without a name. ``path``: its last one; ``bytes``: allocated; ``device``: st_dev; ``pids``: who has it open."""

    path: str
    bytes: int
    device: int
    inode: int
    pids: tuple[int, ...]


def deleted_files() -> tuple[list[DeletedFile], int]:
    """Those that are still open, each once, and the number of processes that may not be looked into. Without /proc: nothing."""
    found: dict[tuple[int, int], DeletedFile] = {}
    hidden = 0
    for process in linux.processes():
        if process.state == "Z" or 2 in (process.pid, process.ppid):  # a zombie, or part of the kernel: they have none
            continue
        try:
            for path, status in _of(process.pid):
                key = status.st_dev, status.st_ino
                pids = found[key].pids if key in found else ()
                if process.pid not in pids:
                    found[key] = DeletedFile(path, 512 * status.st_blocks, *key, (*pids, process.pid))
        except PermissionError:
            hidden += 1
        except OSError:  # it has ended
            continue
    return list(found.values()), hidden


def _of(pid: int) -> Iterator[tuple[str, os.stat_result]]:
    """Of one process, perhaps several times. Raises OSError if it is gone, or may not be looked into."""
    numbers = os.listdir(f"/proc/{pid}/fd")
    for path in (f"/proc/{pid}/exe", *(f"/proc/{pid}/fd/{number}" for number in numbers)):
        with suppress(FileNotFoundError):  # closed since
            # the text first: a status of what lies on a server that does not answer would wait for it
            if (target := os.readlink(path)).endswith(_DELETED):
                status = os.stat(path)
                if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                    yield target.removesuffix(_DELETED), status
