"""Finds programs as execvp(3) does, and remembers their paths: a search costs more than most of the work of a spawn.

It also explains why one could not be started: execve(2) says "No such file or directory" even for an existing script.
"""

from __future__ import annotations

import errno
import os

from manyhands.core.lean import Final

_OF_THE_SHELL: Final = frozenset(
    b". : alias bg bind break builtin caller case cd command compgen complete compopt continue coproc declare dirs disown do "
    b"enable eval exec exit export fc fg for function getopts hash help history if jobs let local logout mapfile popd pushd "
    b"read readarray readonly return select set shift shopt source suspend time times trap type typeset ulimit umask unalias "
    b"unset until wait while [[ {".split()
)
"""Commands that only a shell has (POSIX, Shell Command Language, 2.14 and 2.4; bash(1))."""

_LASTING: Final = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.ENOEXEC,
        errno.E2BIG,
        errno.EINVAL,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.ENAMETOOLONG,
        errno.EISDIR,
        getattr(errno, "ELIBBAD", errno.ENOEXEC),
    }
)
"""Errors of execve(2) that will be the same at the next try."""

SHORTAGES: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors for shortages that end when other processes end: of processes, memory, descriptors."""


class Programs:
    """The programs on one PATH. Only found programs are remembered: a missing one may be installed meanwhile."""

    def __init__(self, search: bytes) -> None:
        self._folders = search.split(b":")
        self._known: dict[bytes, bytes] = {}

    def find(self, name: bytes) -> bytes:
        """The path of ``name``. Raises FileNotFoundError, or PermissionError if no file with this name may be executed."""
        if b"/" in name:
            return name
        if (known := self._known.get(name)) is not None:
            return known
        code = errno.ENOENT
        for folder in self._folders:
            path = (folder or b".") + b"/" + name
            if os.path.isfile(path):
                if os.access(path, os.X_OK):
                    self._known[name] = path
                    return path
                code = errno.EACCES
        raise OSError(code, os.strerror(code))

    def find_again(self, name: bytes, before: bytes) -> bytes | None:
        """The new path of ``name``, if it is no longer at ``before``; None if it has not moved."""
        if self._known.pop(name, None) is None:
            return None
        now = self.find(name)
        return None if now == before else now

    def place(self, name: bytes) -> bytes | None:
        """The path of ``name``; None if it is not known."""
        return name if b"/" in name else self._known.get(name)


def find_program(name: str, search: str, cwd: str | os.PathLike[str] | None = None) -> str:
    """The path of ``name`` on the PATH ``search``, or relative to ``cwd`` if it has a slash. Raises OSError as `Programs.find`."""
    if "/" not in name:
        return os.fsdecode(Programs(os.fsencode(search)).find(os.fsencode(name)))
    path = os.path.join(cwd or "", name)
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        code = errno.EACCES if os.path.exists(path) else errno.ENOENT
        raise OSError(code, os.strerror(code))
    return path


def why_not_started(error: OSError | ValueError, name: bytes, path: bytes | None) -> tuple[int, str, bool]:
    """(exit status as in a shell, reason, whether it will be the same next time) for a command that could not be started.

    ``path``: the path of its program, None if it was not found.
    """
    shown = os.fsdecode(name) or "''"
    if not isinstance(error, OSError):  # an argument with a NUL byte: execve(2) cannot pass it on
        return 126, f"cannot start {shown}: {error}", True
    code = error.errno or 0
    why = reason(code, name, path)
    status = 127 if code == errno.ENOENT else 126
    return status, f"cannot start {shown}: {why} ({errno.errorcode.get(code, 'error')})", code in _LASTING


def reason(code: int, name: bytes, path: bytes | None) -> str:
    """Why a command could not be started, with errno ``code``: more than the kernel says, if the file itself shows it."""
    return _reason(code, name, path) or os.strerror(code)


def _reason(code: int, name: bytes, path: bytes | None) -> str | None:
    if code == errno.ENOENT and (path is None or not os.path.lexists(path)):
        return (
            "it is a command of the shell, not a program: use --shell (in a program: shell=True)"
            if name in _OF_THE_SHELL
            else None
        )
    if path is None or code not in (errno.ENOENT, errno.ENOEXEC, errno.EACCES):
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError:
        return None
    return _reason_in(head, code)


def _reason_in(head: bytes, code: int) -> str | None:
    """The reason that the first bytes of a program show (execve(2), "Interpreter scripts")."""
    line = head.partition(b"\n")[0]
    if head.startswith(b"#!"):
        interpreter = os.fsdecode(line[2:].strip().partition(b" ")[0])
        if line.endswith(b"\r"):
            return "its first line ends in a carriage return: save it with Unix line ends"
        if code == errno.ENOENT:
            return f"its interpreter {interpreter} does not exist"
        return f"its interpreter {interpreter} may not be executed" if interpreter and code == errno.EACCES else None
    if code == errno.ENOENT:
        return "it exists, but the loader or the interpreter that it needs does not"
    if code != errno.ENOEXEC:
        return None
    if not head:
        return "it is empty"
    if head.startswith(b"\xef\xbb\xbf#!"):
        return "a byte order mark stands before its #! line: save it without"
    if b"\0" in head:
        return "it is not a program for this machine"
    return "it is text without a #! line: begin it with one (such as #!/bin/sh), or run it with its interpreter"
