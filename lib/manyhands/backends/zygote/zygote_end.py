"""How the process of a job ends: as an interpreter that ends, but without the time that it takes to free what we have imported for it.

Part of `manyhands.backends.zygote.zygote`: it runs under any Python from 3.9 on, and imports nothing of ours.
"""

from __future__ import annotations

import _signal as signals
import _weakref
import atexit
import ctypes
import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

_QUIET_LIBRARIES = frozenset({"numpy", "pandas", "PIL"})
"""Packages with extensions whose handlers of exit(3) do nothing that can be missed. With others, a job ends by exit(3), which takes longer."""
libc = ctypes.PyDLL(None)


class End:
    """Made before the first fork: what there is then. The other methods are for a child."""

    def __init__(self) -> None:
        self._modules = frozenset(sys.modules)
        self._libraries = loaded_libraries() if _only_quiet() else -1
        self._unraisable = _type_of_unraisable()
        self.lessons: Callable[[list[str]], None] | None = None
        """What wants to know which modules the job has imported."""

    def status_of(self, error: BaseException | None) -> int:
        """Report what the script has raised, as Python does; returns the exit status, or -2 for a death by SIGINT."""
        if error is None:
            return 0
        if isinstance(error, SystemExit):
            return _status_of_exit(error.code)
        traceback = error.__traceback__.tb_next if error.__traceback__ else None  # without our own frame
        error = error.with_traceback(traceback)
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
        if sys.version_info >= (3, 12):
            sys.last_exc = error
        try:
            sys.excepthook(type(error), error, traceback)
        except SystemExit as left:
            return _status_of_exit(left.code)
        except BaseException as worse:  # whatever the hook of a script raises
            _hook_failed(worse, error)
        return -2 if type(error) is KeyboardInterrupt else 1

    def finish(self, status: int) -> None:
        """End the process in the order of Py_FinalizeEx (Python/pylifecycle.c)."""
        modules: dict[str, Any] = sys.modules
        if (threading := modules.get("threading")) is not None:
            threading._shutdown()
        atexit._run_exitfuncs()
        done = self._flush(report=True)
        if self.lessons is not None:
            self.lessons([name for name in modules if name not in self._modules])
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            vars(sys).pop(name, None)
        _forget(self._modules)
        self._flush(report=False)
        if status == -2:
            libc.fflush(None)
            signals.signal(signals.SIGINT, signals.SIG_DFL)
            os.kill(os.getpid(), signals.SIGINT)
        status = status if done else 120
        if loaded_libraries() == self._libraries:
            libc.fflush(None)
            os._exit(status)
        libc.exit(status)

    def _flush(self, *, report: bool) -> bool:
        """Flush the standard streams; return whether that was possible."""
        done = True
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            try:
                if stream is not None and not stream.closed:
                    stream.flush()
            except BaseException as error:  # as Python, which reports any
                done = False
                if report and name == "stdout":
                    self._report(stream, error)
        return done

    def _report(self, stream: object, error: BaseException) -> None:
        """Report that standard output cannot be flushed."""
        about = (None, stream)
        if sys.version_info >= (3, 14):
            about = ("Exception ignored while flushing sys.stdout", None)
        sys.unraisablehook(self._unraisable((type(error), error, None, *about)))


def _status_of_exit(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _hook_failed(worse: BaseException, error: BaseException) -> None:
    """Report that `sys.excepthook` has failed with ``worse``, and the ``error`` that it was called for."""
    sys.stderr.write("Error in sys.excepthook:\n")
    traceback = worse.__traceback__.tb_next if worse.__traceback__ else None
    sys.__excepthook__(type(worse), worse.with_traceback(traceback), traceback)
    sys.stderr.write("\nOriginal exception was:\n")
    sys.__excepthook__(type(error), error, error.__traceback__)


def _forget(before: Collection[str]) -> None:
    """Let go of the modules that the job has imported, the first one last: files that are still open are written."""
    left = []
    for name in [name for name in sys.modules if name not in before or name == "__main__"]:
        module = sys.modules.pop(name)
        try:
            left.append(_weakref.ref(module))
        except TypeError:  # a program may put anything there
            continue
        finally:
            del module
    gc.collect()
    for reference in reversed(left):
        there = reference()
        if there is not None:
            _clear(vars(there))


def _clear(names: dict[str, Any]) -> None:
    """As `_PyModule_ClearDict`: private names first."""
    for private in (True, False):
        for name in list(names):
            if name != "__builtins__" and (not private or (name[:1] == "_" and name[1:2] != "_")):
                names[name] = None


def _only_quiet() -> bool:
    """Whether nothing is lost if the exit handlers of all libraries that we have loaded are left out."""
    standard = os.path.join(os.path.dirname(os.__file__), "lib-dynload", "")
    return all(
        name.partition(".")[0] in _QUIET_LIBRARIES or path.startswith(standard)
        for name, module in list(sys.modules.items())
        if (path := getattr(module, "__file__", None) or "").endswith(".so")
    )


class _LoadedObject(ctypes.Structure):
    """The beginning of ``struct dl_phdr_info``, dl_iterate_phdr(3)."""

    _fields_ = (
        ("addr", ctypes.c_void_p), ("name", ctypes.c_char_p), ("headers", ctypes.c_void_p), ("number", ctypes.c_uint16),
        ("adds", ctypes.c_ulonglong),
    )  # fmt: skip


_adds: list[int] = []


def _visit(found: Any, _size: int, _data: object) -> int:
    _adds.append(found.contents.adds)
    return 1  # the first one is enough


_visitor = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_LoadedObject), ctypes.c_size_t, ctypes.c_void_p)(_visit)


def loaded_libraries() -> int:
    """How many shared objects this process has loaded so far."""
    _adds.clear()
    libc.dl_iterate_phdr(_visitor, None)
    return _adds[0]


def _type_of_unraisable() -> Any:
    """The type of what `sys.unraisablehook` is called with, which has no name."""

    class Failing:
        def __del__(self) -> None:
            raise ValueError

    seen: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda one: seen.append(type(one))
    try:
        Failing()
    finally:
        sys.unraisablehook = before
    return seen[0]
