"""The lock of a run: one open file that its coordinator and all its launchers hold (flock(2)).

It is free only when the coordinator and everybody who could still have one of its jobs is gone.
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
    """What can be locked: a run."""

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
        """The open file that is locked; negative when it is closed."""
        return self.descriptor

    def close(self) -> None:
        """Let go. Launchers and workers that inherited the descriptor still hold the lock; a fork of this process does not."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def lock(run: Lockable, *, patience: float = 5.0, sleep: Callable[[float], None] = time.sleep) -> RunLock:
    """Take the lock of ``run``; raises BusyError naming the holder.

    A living coordinator is a refusal at once. A dead one may have launchers that are still killing its jobs (they need
    well under a second): these are waited for, up to ``patience`` seconds.
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
        if not _is_at(descriptor, path):  # whoever had it has removed the run
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
    """Whether somebody holds the run's lock now."""
    try:
        descriptor = os.open(run.path / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # none, or none that could be held
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(descriptor: int) -> tuple[int, int] | None:
    """(pid, start time) of whoever wrote the lock file last; None when it is being written or from another boot."""
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        pid, start, boot = record["pid"], record["start"], record["boot_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    known = type(pid) is int and type(start) is int and 0 < pid < 1 << 31
    return (pid, start) if known and boot == linux.boot_id() else None
