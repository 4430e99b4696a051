"""Where programs are, looked for as execvp(3) does, and remembered: a search costs more than most of a spawn's own work."""

from __future__ import annotations

import errno
import os


class Programs:
    """The programs on one PATH. Only what was found is remembered: what is missing may be installed meanwhile."""

    def __init__(self, search: bytes) -> None:
        self._folders = search.split(b":")
        self._known: dict[bytes, bytes] = {}

    def find(self, name: bytes) -> bytes:
        """The path of ``name``. Raises FileNotFoundError, or PermissionError if all that is there may not be executed."""
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

    def forget(self, name: bytes) -> bool:
        """No longer remember ``name``; False if it was not."""
        return self._known.pop(name, None) is not None


def find_program(name: str, search: str, cwd: str | os.PathLike[str] | None = None) -> str:
    """The path of ``name`` on the PATH ``search``, or relative to ``cwd`` if it has a slash. Raises OSError as `Programs.find`."""
    if "/" not in name:
        return os.fsdecode(Programs(os.fsencode(search)).find(os.fsencode(name)))
    path = os.path.join(cwd or "", name)
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        code = errno.EACCES if os.path.exists(path) else errno.ENOENT
        raise OSError(code, os.strerror(code))
    return path
