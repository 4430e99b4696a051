"""How a forked child becomes the process of a job: what the kernel shows of it, and its ``__main__``.

Part of `manyhands.backends.zygote.zygote`: it runs under any Python from 3.9 on, and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType
    from typing import Any


class Shown:
    """The memory in which the kernel finds the command line and the environment of a process (proc(5)), to be overwritten by a child.

    Else ps(1) would show each job as the zygote, and a daemon that a job leaves would not be found by its ``MH_TAG``.
    """

    def __init__(self) -> None:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        self._line, end, environment = map(int, fields[45:48])
        self._room = end - self._line
        with open("/proc/self/environ", "rb") as file:
            data = b"\0" + file.read()
        at = data.index(b"\0MH_TAG=")
        self._tag = environment + at + len(b"MH_TAG=")
        self._tag_room = data.index(b"\0", at + 1) - at - len(b"\0MH_TAG=")

    def write(self, tag: bytes, line: bytes) -> None:
        """Show another tag and command line, as much as there is room for."""
        ctypes.memmove(self._tag, tag[: self._tag_room].ljust(self._tag_room, b"\0"), self._tag_room)
        # The kernel takes the line for one text, and not for arguments, if its last byte is not NUL.
        ctypes.memmove(self._line, line[: self._room - 2].ljust(self._room - 1, b"\0") + b".", self._room)


class Script:
    """What every job runs: a file of source, or, if it is a ``module``, what ``python -m`` runs."""

    def __init__(self, python: Sequence[bytes], target: bytes, *, module: bool, path: Sequence[str]) -> None:
        self.python, self.target, self.module = [os.fsdecode(word) for word in python], os.fsdecode(target), module
        self.file = self.target if module else os.path.join(os.getcwd(), self.target)
        self.folder = os.getcwd() if module else os.path.dirname(os.path.realpath(self.file))
        safe = getattr(sys.flags, "safe_path", sys.flags.isolated)
        self.path = [*path] if safe else [self.folder, *path]
        self.code: CodeType | None = None
        self._version: tuple[int, int, int] | None = None

    def compile(self) -> None:
        """Compile it, if it has changed. ``code`` is None if the child has to: the file is gone, is no Python, or gives warnings."""
        if self.module:
            return
        try:
            stat = os.stat(self.file)
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if version != self._version:
                self._version, self.code = version, None
                self.code = _compiled_quietly(self.file)
        except OSError:
            self._version = self.code = None

    def words(self, arguments: Sequence[str]) -> list[str]:
        """The command line of a job."""
        return [*self.python, *(["-m"] if self.module else []), self.target, *arguments]

    def compiled(self, arguments: Sequence[str]) -> CodeType:
        """The code. If it cannot be compiled, the process becomes the interpreter itself, which says why."""
        if self.code is not None:
            return self.code
        try:
            return _compiled(self.file)
        except (OSError, SyntaxError, ValueError):
            os.execv(sys.executable, self.words(arguments))  # noqa: S606 - that is what is meant


def _compiled(path: str) -> CodeType:
    with open(path, "rb") as file:
        code: CodeType = compile(file.read(), path, "exec", dont_inherit=True)
    return code


def _compiled_quietly(path: str) -> CodeType | None:
    """The code; None if there is something to report."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            code = _compiled(path)
    except (SyntaxError, ValueError):
        return None
    return None if caught else code


def become(script: Script, fields: Sequence[bytes], files: Sequence[int], shown: Shown) -> list[str]:
    """Be the process of a job; returns its arguments. ``files``: its standard streams."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    arguments = [os.fsdecode(field) for field in fields[4:]]
    words = script.words(arguments)
    shown.write(fields[0], os.fsencode(" ".join(words)))
    for name, value in zip((b"MH_TAG", b"MH_JOB", b"MH_ATTEMPT", b"MH_SLOT"), fields):
        os.environb[name] = value
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = words
    return arguments


def renew() -> None:
    """Give the child what differs from process to process, where a module takes it when it is imported."""
    modules: dict[str, Any] = sys.modules
    if (numpy := modules.get("numpy.random")) is not None:
        numpy.seed()  # random does so by itself
    if (threading := modules.get("threading")) is not None and hasattr(threading.main_thread(), "_set_native_id"):
        threading.main_thread()._set_native_id()
    if (process := modules.get("multiprocessing.process")) is not None:
        process.current_process()._config["authkey"] = process.AuthenticationString(os.urandom(32))
    if (logging := modules.get("logging")) is not None:
        import time

        logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()


def new_main(
    script: Script, arguments: Sequence[str], names: Sequence[str]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Make the ``__main__`` of the job, with ``names`` in it; returns what has to be called, and with what.

    As Modules/main.c of Python does: the path of the script is absolute, but not normalised; the first entry of `sys.path` is.
    """
    main = type(sys)("__main__")
    sys.path[:] = script.path
    builtins = sys.modules["builtins"]
    if script.module:
        import runpy

        sys.argv[:] = ["-m", *arguments]
        sys.modules["__main__"] = main
        vars(main)["__builtins__"] = builtins
        return runpy._run_module_as_main, (script.target,)  # type: ignore[attr-defined]
    sys.argv[:] = [script.target, *arguments]
    own: Any = sys.modules["__main__"]
    values = {
        "__name__": "__main__",
        "__file__": script.file,
        "__builtins__": builtins,
        "__annotations__": {},
        "__loader__": type(own.__loader__)("__main__", script.file),
    }
    vars(main).clear()
    vars(main).update((name, values.get(name)) for name in names)
    sys.modules["__main__"] = main
    return exec, (script.compiled(arguments), vars(main))
