"""What is done with one old log: it is compressed, or removed.

    NAME --read--> .NAME.gz.part --written, read back, linked--> NAME.gz, and then NAME is removed, if it is as it was

At every moment all that was logged is in a file with a name. Everything is done below the opened folder, so that nobody who may write
there can lead us out of it by a link. Runs in a process of its own, at low priority.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import os
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from json import dumps, loads
from typing import Final

from manyhands.admin.open_files import unwritten
from manyhands.core.errors import ManyhandsError
from manyhands.core.records import dataclass
from manyhands.posix.durable_files import Disk

_BLOCK: Final = 1024 * 1024
_GZIP: Final = 31
"""For zlib: a gzip header, and the largest window."""

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ACL: Final = "system.posix_acl_access"
_MOVED: Final = "was moved or removed meanwhile"


_IDENTITY: Final = ("device", "inode", "size", "modified_ns", "changed_ns")


class Action(StrEnum):
    """What is to be done."""

    COMPRESS = "compress"
    REMOVE = "remove"


class InUseError(ManyhandsError):
    """Somebody writes to it: nothing is done, which is as it should be."""


class LeftError(ManyhandsError):
    """Nothing is done with it, for a reason that somebody should look at."""


@dataclass(frozen=True, slots=True)
class OldLog:
    """A file, and how it was when it was decided about. ``root``: a folder by its real path; ``parts``: names of folders below it."""

    root: str
    parts: tuple[str, ...]
    name: str
    action: Action
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    def is_still(self, status: os.stat_result) -> bool:
        """Whether nobody has written to it, or to what is known of it."""
        now = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return now == (self.device, self.inode, self.size, self.modified_ns, self.changed_ns)

    def to_text(self) -> str:
        """As JSON, which the journal of a run shows: the log, then the rest."""
        fields = {name: getattr(self, name) for name in ("root", "action", *_IDENTITY)}
        return dumps({"log": os.path.join(*self.parts, self.name), **fields})

    @classmethod
    def of_text(cls, text: str) -> OldLog:
        """The other way round."""
        fields = loads(text)
        *parts, name = fields.pop("log").split(os.sep)
        return cls(parts=tuple(parts), name=name, action=Action(fields.pop("action")), **fields)


def deal_with_text(text: str) -> int:
    """`deal_with`, as a job of a run."""
    return deal_with(OldLog.of_text(text))


def deal_with(one: OldLog) -> int:
    """Compress or remove it; how many bytes are left of it. Raises InUseError, LeftError, and OSError, for a full disk, say: then it is
    as it was."""
    _give_way()
    with _folder(one) as folder, _opened(folder, one) as file:
        if one.action is Action.COMPRESS:
            return _compress(folder, file, one)
        _remove(folder, file, one)
        return 0


def _give_way() -> None:
    """Let everybody else read and write first."""
    import psutil

    with suppress(OSError, AttributeError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


@contextmanager
def _folder(one: OldLog) -> Iterator[int]:
    """The folder that it is in, opened step by step: nobody has put a link into its place."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(one.root, flags)
    try:
        for part in one.parts:
            below = os.open(part, flags, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


@contextmanager
def _opened(folder: int, one: OldLog) -> Iterator[int]:
    """The file itself. Raises InUseError if it is another one by now."""
    try:
        file = os.open(one.name, _READ, dir_fd=folder)
    except FileNotFoundError:
        raise InUseError(_MOVED) from None
    try:
        _check(folder, file, one)
        yield file
    finally:
        os.close(file)


def _check(folder: int, file: int, one: OldLog) -> None:
    """Raises InUseError if it is not as it was decided about."""
    try:
        named = os.stat(one.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise InUseError(_MOVED) from None
    if not (one.is_still(os.fstat(file)) and one.is_still(named)):
        raise InUseError("was written to meanwhile")


def _remove(folder: int, file: int, one: OldLog) -> None:
    """Remove it, unless somebody has it open for writing, or has written to it."""
    with unwritten(file) as alone:
        if not alone:
            raise InUseError("open for writing")
        _check(folder, file, one)
        os.unlink(one.name, dir_fd=folder)
    os.fsync(folder)


def _compress(folder: int, file: int, one: OldLog) -> int:
    """Replace it by NAME.gz; the size of that."""
    final = f"{one.name}.gz"
    with _part(folder, f".{final}.part") as (part, name):
        if _exists(folder, final):  # we were killed before the last step; or it is somebody else's
            _check_copy(folder, final, file)
            _remove(folder, file, one)
            return os.stat(final, dir_fd=folder, follow_symlinks=False).st_size
        digest = _pack(file, part)
        _check(folder, file, one)
        _take_over(file, part)
        os.fsync(part)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(part, 0, 0, os.POSIX_FADV_DONTNEED)  # what is read back comes from the disk
        if _unpacked(part, one.size) != digest:
            raise LeftError("what was compressed does not read back as it was")
        _link(folder, part, name, final)
        try:
            _remove(folder, file, one)
        except BaseException:
            if os.fstat(file).st_nlink:  # it still has a name; without one, the copy is all that is left
                os.unlink(final, dir_fd=folder)
            raise
        return os.fstat(part).st_size


@contextmanager
def _part(folder: int, name: str) -> Iterator[tuple[int, str]]:
    """A new file, locked, which is removed at the end; one that a killed process has left is removed before. Raises InUseError."""
    stale: int | None = None
    try:
        with suppress(FileNotFoundError):
            stale = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            _lock(stale)  # until there is a new one, which others then wait for
            if os.path.samestat(os.fstat(stale), os.stat(name, dir_fd=folder, follow_symlinks=False)):
                os.unlink(name, dir_fd=folder)
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            _lock(file)
        except InUseError:  # another process has taken it for a stale one: the name is theirs
            os.close(file)
            raise
    finally:
        if stale is not None:
            os.close(stale)
    try:
        yield file, name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        os.close(file)


def _lock(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUseError("another process compresses it") from None


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _check_copy(folder: int, name: str, file: int) -> None:
    """Raises LeftError unless ``name`` is a compressed copy of ``file``."""
    with suppress(OSError):
        copy = os.open(name, _READ, dir_fd=folder)
        try:
            regular = stat.S_ISREG(os.fstat(copy).st_mode)
            if regular and _unpacked(copy, os.fstat(file).st_size) == _digest(_blocks(file)):
                return
        finally:
            os.close(copy)
    raise LeftError(f"{name} is there already, and is no copy of it")


def _blocks(file: int) -> Iterator[bytes]:
    """All that is in it."""
    at = 0
    while block := os.pread(file, _BLOCK, at):
        yield block
        at += len(block)


def _digest(blocks: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b()
    for block in blocks:
        digest.update(block)
    return digest.digest()


def _pack(file: int, to: int) -> bytes:
    """Compress all of ``file``; the digest of what it was."""
    packer = zlib.compressobj(level=6, wbits=_GZIP)

    def packed() -> Iterator[bytes]:
        for block in _blocks(file):
            Disk().write(to, packer.compress(block))
            yield block
        Disk().write(to, packer.flush())

    return _digest(packed())


def _unpacked(file: int, most: int) -> bytes | None:
    """The digest of what is compressed in it; None if it is torn, or more than ``most`` bytes."""
    os.lseek(file, 0, os.SEEK_SET)
    count = 0

    def blocks() -> Iterator[bytes]:
        nonlocal count
        with open(file, "rb", closefd=False) as raw, gzip.GzipFile(fileobj=raw) as unpacked:
            while count <= most and (block := unpacked.read(_BLOCK)):
                count += len(block)
                yield block

    try:
        digest = _digest(blocks())
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None
    return digest if count <= most else None


def _take_over(file: int, part: int) -> None:
    """Owner, mode, times, and attributes, among which may be an access control list."""
    status = os.fstat(file)
    if (status.st_uid, status.st_gid) != (os.fstat(part).st_uid, os.fstat(part).st_gid):
        os.fchown(part, status.st_uid, status.st_gid)
    for name in os.listxattr(file) if sys.platform == "linux" else ():
        try:
            os.setxattr(part, name, os.getxattr(file, name))
        except OSError:
            if name == _ACL:  # without it, more people could read it
                raise
    os.fchmod(part, stat.S_IMODE(status.st_mode))
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))


def _link(folder: int, part: int, name: str, final: str) -> None:
    """Give the file ``name`` a second name, which nobody has; where that cannot be, rename it."""
    try:
        os.link(name, final, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        raise LeftError("this file system has no hard links, without which a file may be overwritten") from None
    if not os.path.samestat(os.fstat(part), os.stat(final, dir_fd=folder, follow_symlinks=False)):
        raise LeftError(f"{final} was replaced meanwhile")
    os.fsync(folder)
