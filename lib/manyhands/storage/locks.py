"""The lock of a run: one open file that its coordinator and all its launchers hold (flock(2)).

It is free only when the coordinator and every process that could still have one of its jobs are gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from manyhands.core.errors import BusyError, JournalError
from manyhands.posix import linux
from manyhands.runtime import at_fork


class Lockable(Protocol):
    """A run that can be locked."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> Path: ...


class RunLock:
    """The lock of one run, held until `close`; ``descriptor`` is for the launchers to inherit."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        at_fork.note(self)

    def fileno(self) -> int:
        """The descriptor of the locked file; negative if it is closed."""
        return self.descriptor

    def close(self) -> None:
        """Release the lock. Launchers and workers that inherited the descriptor still hold it; a forked child does not."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def lock(run: Lockable, *, patience: float = 5.0, sleep: Callable[[float], None] = time.sleep) -> RunLock:
    """Take the lock of ``run``; raises BusyError naming the holder.

    If the holder is a living coordinator, it is raised at once. A dead one may have launchers that are still killing its jobs, which
    takes well under a second: these are waited for, up to ``patience`` seconds.
    """
    path = run.path / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise BusyError(f"run {run.id} was removed at this moment") from None
    except OSError as error:
        raise JournalError(f"cannot lock the run {run.path}: {error.strerror}; it can only be read") from error
    try:
        _wait_for_lock(run, descriptor, patience, sleep)
        if not _is_at(descriptor, path):  # the former holder has removed the run
            raise BusyError(f"run {run.id} was removed at this moment")
        pid, start, boot = linux.own_identity()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": pid, "start": start, "boot_id": boot}).encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise JournalError(f"cannot lock the run {run.path}: {error.strerror}") from error
    except BaseException:
        os.close(descriptor)
        raise
    return RunLock(descriptor)


def _wait_for_lock(run: Lockable, descriptor: int, patience: float, sleep: Callable[[float], None]) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(descriptor)
            if holder is None or linux.process_alive(*holder) or time.monotonic() > deadline:
                who = f"process {holder[0]}" if holder else "another process"
                raise BusyError(f"run {run.id} is being worked on by {who}; wait for it, or stop it first") from None
            sleep(0.02)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.stat(path).st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def is_busy(run: Lockable) -> bool:
    """Whether the run's lock is held now."""
    try:
        descriptor = os.open(run.path / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # there is no lock file, or it cannot be opened
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(descriptor: int) -> tuple[int, int] | None:
    """(pid, start time) of the process that wrote the lock file last; None if it is being written, or from another boot."""
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        pid, start, boot = record["pid"], record["start"], record["boot_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    known = type(pid) is int and type(start) is int and 0 < pid < 1 << 31
    return (pid, start) if known and boot == linux.boot_id() else None
