"""How the process of a job ends: as an interpreter that ends, but without the time that it takes to free what we have imported for it; and
how the zygote reaps it.

Part of `manyhands.backends.zygote.zygote`: it runs under any Python from 3.9 on, and imports nothing of ours.
"""

from __future__ import annotations

import _signal as signals
import _weakref
import ctypes
import os
import sys
from atexit import _run_exitfuncs
from gc import collect, get_objects, isenabled, unfreeze
from os import _exit, kill, write  # a script may put something else into these modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

_QUIET_LIBRARIES = frozenset({"numpy", "pandas", "PIL"})
"""Packages with extensions whose handlers of exit(3) do nothing that can be missed. With others, a job ends by exit(3), which takes longer."""
_BY_SIGINT = -2
"""In place of an exit status: a death by this signal."""
_CLEARED = (
    "path",
    "argv",
    "ps1",
    "ps2",
    "last_type",
    "last_value",
    "last_traceback",
    "last_exc",
    "path_hooks",
    "path_importer_cache",
    "meta_path",
    "__interactivehook__",
)
_SUSPENDED = ("generator", "coroutine", "async_generator")
"""Types that have no __del__, but may have a ``finally``."""
libc = ctypes.PyDLL(None)


class _Whatever:
    """Lets no exception pass (contextlib, which has this, would have to be imported, and a script may have a module of that name)."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> bool:
        return True


_WHATEVER = _Whatever()


class End:
    """Made before the first fork: what there is then. The other methods are for a child."""

    def __init__(self, *, module: bool) -> None:
        """``module``: whether it was run by ``-m``."""
        self._module = module
        self._modules = frozenset(sys.modules)
        self._last = next(reversed(sys.modules))
        self._libraries = loaded_libraries() if _only_quiet() else -1
        self._kept = [vars(sys).get(name) for name in _CLEARED]  # to free thousands of path entries takes milliseconds
        self._unraisable = _type_of_unraisable()
        self.lessons: Callable[[list[str]], None] | None = None
        """What wants to know which modules the job has imported."""

    def status_of(self, error: BaseException | None) -> int:
        """Report what the script has raised, as Python does; returns the exit status, or _BY_SIGINT."""
        if not self._module:
            _flush_first()
        if error is None:
            return 0
        if isinstance(error, SystemExit):
            return _status_of_exit(error.code)
        traceback = error.__traceback__.tb_next if error.__traceback__ else None  # without our own frame
        error = error.with_traceback(traceback)
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
        if sys.version_info >= (3, 12):
            sys.last_exc = error
        if not hasattr(sys, "excepthook"):
            _say("sys.excepthook is missing\n")
            sys.excepthook = sys.__excepthook__
        try:
            sys.excepthook(type(error), error, traceback)
        except SystemExit as left:
            return _status_of_exit(left.code)
        except BaseException as worse:  # whatever the hook of a script raises
            _hook_failed(worse, error)
        return _BY_SIGINT if type(error) is KeyboardInterrupt else 1

    def finish(self, status: int) -> BaseException:
        """End the process in the order of Py_FinalizeEx (Python/pylifecycle.c), or return what has to be raised at the top of the program
        so that the interpreter does it: it takes longer, but reaches what we do not."""
        self._join_threads()
        if self.lessons is not None:
            self.lessons([name for name in sys.modules if name not in self._modules])
        with _WHATEVER:  # up to Python 3.9 it raises what it has printed
            _run_exitfuncs()
        if len(sys._current_frames()) > 1:
            return _by_the_interpreter(status)  # which lets no daemon thread see how modules are taken apart
        _default_signals()
        done = self._flush(report=True)
        if isenabled():  # brings the parts of each open file into the order in which a later collection can write it
            collect()
        runs_code = _something_is_left() or _is_watched()
        _clear_sys()
        ours, left = _forget(self._modules) if runs_code else ({}, _forget_new(self._last))
        status = status if done else 120
        if _something_is_left():
            sys.modules.update(ours)
            sys.modules.update((name, module) for name, one in left.items() if (module := one()) is not None)
            sys.stdout = sys.stderr = None  # they are flushed, and that must not be tried again; later there are new ones
            return _by_the_interpreter(status)
        _clear_all(left)
        self._flush(report=False)
        if loaded_libraries() != self._libraries and status != _BY_SIGINT:
            libc.exit(status)
        libc.fflush(None)
        if status == _BY_SIGINT:
            signals.signal(signals.SIGINT, signals.SIG_DFL)
            kill(os.getpid(), signals.SIGINT)
            status = 128 + signals.SIGINT  # it is blocked
        _exit(status)

    def _join_threads(self) -> None:
        threading = sys.modules.get("threading")
        try:
            if threading is not None:
                threading._shutdown()
        except BaseException as error:  # such as KeyboardInterrupt, or what a script has put there
            traceback = error.__traceback__.tb_next if error.__traceback__ else None
            about = (
                ("Exception ignored on threading shutdown", None) if sys.version_info >= (3, 13) else (None, threading)
            )
            sys.unraisablehook(self._unraisable((type(error), error, traceback, *about)))

    def _flush(self, *, report: bool) -> bool:
        """Flush the standard streams; return whether that was possible."""
        done = True
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            try:
                if stream is not None and not _is_closed(stream):
                    stream.flush()
            except BaseException as error:  # as Python, which reports any
                done = False
                if report and name == "stdout":
                    self._report(stream, error)
        return done

    def _report(self, stream: object, error: BaseException) -> None:
        """Report that standard output cannot be flushed."""
        about = (None, stream)
        traceback = error.__traceback__.tb_next if error.__traceback__ else None
        if sys.version_info >= (3, 13):
            word = "while" if sys.version_info >= (3, 14) else "on"
            about = (f"Exception ignored {word} flushing sys.stdout", None)
        sys.unraisablehook(self._unraisable((type(error), error, traceback, *about)))


def _by_the_interpreter(status: int) -> BaseException:
    unfreeze()  # else its collections would not reach what lies in modules of the zygote
    if status != _BY_SIGINT:
        return SystemExit(status)
    sys.excepthook = lambda *_: None  # it was called before
    return KeyboardInterrupt()


def _status_of_exit(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    with _WHATEVER:  # as Python does, whatever a script has put there
        if sys.stderr is None:
            _write_raw(str(code))
        else:
            sys.stderr.write(str(code))
    _say("\n")
    return 1


def _say(text: str) -> None:
    """As PySys_WriteStderr."""
    try:
        sys.stderr.write(text)
    except BaseException:  # whatever a script has put there
        _write_raw(text)


def _write_raw(text: str) -> None:
    with _WHATEVER:  # it may be closed
        write(2, text.encode("utf-8", "backslashreplace"))


def _hook_failed(worse: BaseException, error: BaseException) -> None:
    """Report that `sys.excepthook` has failed with ``worse``, and the ``error`` that it was called for."""
    _say("Error in sys.excepthook:\n")
    traceback = worse.__traceback__.tb_next if worse.__traceback__ else None
    sys.__excepthook__(type(worse), worse.with_traceback(traceback), traceback)
    _say("\nOriginal exception was:\n")
    sys.__excepthook__(type(error), error, error.__traceback__)


def _flush_first() -> None:
    """As `flush_io` after the run of a file."""
    for name in ("stderr", "stdout"):
        with _WHATEVER:
            getattr(sys, name).flush()


def _is_closed(stream: Any) -> bool:
    try:
        return bool(stream.closed)
    except BaseException:  # as Python: anything that has no such attribute is open
        return False


def _default_signals() -> None:
    """As `_PySignal_Fini`: no handler of the script is called any more."""
    for number in range(1, signals.NSIG):
        if callable(signals.getsignal(number)):
            signals.signal(number, signals.SIG_DFL)


def _clear_sys() -> None:
    """As `finalize_modules_delete_special`: what a script has put there in place of the standard streams is freed, and so written."""
    values = vars(sys)
    for name in _CLEARED:
        values[name] = None
    for name in ("stdin", "stdout", "stderr"):
        values[name] = values.get(f"__{name}__")


def _something_is_left() -> bool:
    """Whether an object of the job has something to do when it is freed: what lies in modules of the zygote has not been."""
    types = {type(one) for one in get_objects()}
    return any(one.__name__ in _SUSPENDED or any("__del__" in vars(base) for base in one.__mro__) for one in types)


def _is_watched() -> bool:
    """Whether a weak reference of the job calls something when its object is freed."""
    return any(isinstance(one, _weakref.ref) and one.__callback__ is not None for one in get_objects())


def _forget(before: Collection[str]) -> tuple[dict[str, Any], dict[str, _weakref.ref[Any]]]:
    """Let go of the modules that the job has imported, and of what nothing else holds; nothing can be imported any more. Returns the
    modules that the zygote has imported, and those of the job."""
    ours, left = {}, {}
    for name, module in [*sys.modules.items()]:
        if name in before and name != "__main__":
            ours[name] = module
        elif isinstance(module, type(sys)):  # a program may put anything there
            left[name] = _weakref.ref(module)
        del module
    sys.modules.clear()
    collect()
    return ours, left


def _forget_new(last: str) -> dict[str, _weakref.ref[Any]]:
    """As `_forget`, for a job of which no code runs any more, so that nothing can see whether the modules of the zygote are still there. To
    touch each of them would copy the memory that it lies in: pandas has 600. ``last``: the name of the last one."""
    new = ["__main__"]
    for name in reversed(sys.modules):
        if name == last:
            break
        new.append(name)
    left = {}
    for name in reversed(new):
        module = sys.modules.pop(name, None)
        if isinstance(module, type(sys)):  # a program may put anything there
            left[name] = _weakref.ref(module)
        del module
    collect()
    return left


def _clear_all(left: dict[str, _weakref.ref[Any]]) -> None:
    """Free what lies in modules that are still held, the first one last."""
    for reference in reversed([*left.values()]):
        there = reference()
        if there is not None:
            _clear(vars(there))
    collect()


def _clear(names: dict[str, Any]) -> None:
    """As `_PyModule_ClearDict`: private names first."""
    for private in (True, False):
        for name in [name for name in names if isinstance(name, str)]:
            if name != "__builtins__" and (not private or (name[:1] == "_" and name[1:2] != "_")):
                names[name] = None


def _only_quiet() -> bool:
    """Whether nothing is lost if the exit handlers of all libraries that we have loaded are left out."""
    standard = os.path.join(os.path.dirname(os.__file__), "lib-dynload", "")
    paths = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    return all(path.startswith(standard) or _is_quiet(path) for path in paths if path.endswith(".so"))


def _is_quiet(path: str) -> bool:
    """By its folders, because an extension in a package need not have a name below that (``_cyutility`` of pandas)."""
    return not _QUIET_LIBRARIES.isdisjoint(path.split(os.sep))


class _LoadedObject(ctypes.Structure):
    """The beginning of ``struct dl_phdr_info``, dl_iterate_phdr(3)."""

    _fields_ = (
        ("addr", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("number", ctypes.c_uint16),
        ("adds", ctypes.c_ulonglong),
    )


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


_Usage = ctypes.c_long * 18
"""``struct rusage``, getrusage(2): two times in seconds and microseconds, user and system, and 14 numbers, of which the first is peak memory
in KiB."""


def reap(pid: int) -> str:
    """Reap a child that has ended; returns its status, user and system time in seconds, and peak memory in KiB.

    It has ended, so nothing interrupts the call. Not by os.wait4, which imports a module, ``resource``: every later job would take it for one
    of its own, and end in the long way.
    """
    status, usage = ctypes.c_int(), _Usage()
    if libc.wait4(pid, ctypes.byref(status), 0, usage) != pid:
        raise ChildProcessError(pid)
    user, user_us, system, system_us, peak = usage[:5]
    return f"{status.value} {user + user_us / 1e6!r} {system + system_us / 1e6!r} {peak}"
