"""What a script imports, found and imported before its first job; and whether a fork is known to be safe after that.

Part of `manyhands.backends.zygote.zygote`: it runs under any Python from 3.9 on, and imports nothing of ours.
"""

from __future__ import annotations

import _signal as signals
import mmap
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_SAFE_THREADS = frozenset({"jemalloc_bg_thd"})
"""Names of threads that outlive the fork handlers of their library and do no harm to a child: jemalloc locks and renews its own."""
_SAFE_FILES = frozenset({"/dev/null", "/dev/urandom", "/dev/random"})
_LESSONS = 1 << 16
"""Bytes for the names of modules."""
_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST; the module ast is not needed for more


class Cold(Exception):
    """Why the jobs must not be forked."""


class Imports:
    """The installed modules that a script imports at its top level, itself or by modules of its own, without importing anything.

    ``found``: (module, names from it), in order. What is not installed is followed and not listed: it may change between jobs.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._installed = _library_folders()
        self._seen: set[str] = set()
        self._elsewhere = False
        """Whether modules may be found elsewhere from here on, because the script has to do with `sys.path`."""
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def read_module(self, module: str) -> None:
        """Read what ``python -m module`` runs."""
        spec = self._find_below(module)
        if getattr(spec, "submodule_search_locations", None) is not None:
            module = f"{module}.__main__"
            spec = self._find_below(module)
        if spec is not None and spec.origin:
            self.read(spec.origin, module.rpartition(".")[0])

    def read(self, path: str, package: str = "") -> None:
        """Read a file of source in ``package``. One that cannot be read or compiled has no imports: its job will say so."""
        try:
            with open(path, "rb") as file:
                source = file.read()
            tree: Any = compile(source, path, "exec", _ONLY_AST, dont_inherit=True)
        except (OSError, SyntaxError, ValueError):
            return
        self._statements(tree.body, package, mentions_path=b"sys.path" in source)

    def _statements(self, statements: Iterable[Any], package: str, *, mentions_path: bool) -> None:
        for node in statements:
            if self._elsewhere or (mentions_path and _changes_path(node)):
                self._elsewhere = True
                return
            kind = type(node).__name__
            if kind == "Import":
                for alias in node.names:
                    self._add(alias.name, ())
            elif kind == "ImportFrom":
                self._add(_absolute(node, package), tuple(alias.name for alias in node.names))
            elif kind in ("Try", "TryStar", "With"):
                self._statements(node.body, package, mentions_path=mentions_path)

    def _add(self, module: str, names: tuple[str, ...]) -> None:
        """A module that is imported; if it is not installed, what it imports itself."""
        spec = self._find(_top(module), None) if module else None
        if spec is None:
            return
        if self._is_installed(spec):
            self.found.append((module, names))
            return
        for name in (module, *(f"{module}.{name}" for name in names)):
            self._find_below(name, read=True)

    def _find_below(self, module: str, *, read: bool = False) -> Any:
        """Where a module is; ``read``: read it, and the packages that it is in."""
        spec, path, name = None, None, ""
        for part in module.split("."):
            name = f"{name}.{part}" if name else part
            spec = self._find(name, path)
            if spec is None:
                return None
            path = spec.submodule_search_locations
            if read and name not in self._seen:
                self._seen.add(name)
                if spec.origin and spec.origin.endswith(".py"):
                    self.read(spec.origin, name.rpartition(".")[0] if path is None else name)
        return spec

    def _find(self, name: str, path: Any) -> Any:
        """Where a module is, as an import statement of the script would find it."""
        sys.path.insert(0, self._folder)
        try:
            for finder in sys.meta_path:
                if (spec := finder.find_spec(name, path)) is not None:
                    return spec
        except (ImportError, ValueError):
            return None
        finally:
            del sys.path[0]
        return None

    def _is_installed(self, spec: Any) -> bool:
        if spec.origin in ("built-in", "frozen"):
            return True
        places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
        return bool(places) and all(place.startswith(self._installed) for place in places)


def _changes_path(statement: Any) -> bool:
    """Whether a statement has to do with `sys.path`, and so may let the next import find another module."""
    left = [statement]
    while left:
        node = left.pop()
        if type(node).__name__ == "Attribute" and node.attr == "path" and getattr(node.value, "id", None) == "sys":
            return True
        for name in node._fields:
            part = getattr(node, name, None)
            left += [one for one in (part if isinstance(part, list) else [part]) if hasattr(one, "_fields")]
    return False


def _absolute(node: Any, package: str) -> str:
    """The module that ``from ... import`` names, in a module of ``package``; empty if there is nothing to import."""
    module = node.module or ""
    if node.level:
        parents = package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1]) if package else ""
        module = f"{base}.{module}".rstrip(".") if base else ""
    return "" if module == "__future__" else module


def _library_folders() -> tuple[str, ...]:
    """Where what is installed is."""
    site: Any = sys.modules.get("site")
    folders = [os.path.dirname(os.__file__)]
    if site is not None:
        folders += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(os.path.join(folder, "") for folder in folders)


class Nursery:
    """The process as children get it: imports modules, and checks after each that a fork is known to be safe."""

    def __init__(self, folder: str, at_start: Iterable[str]) -> None:
        """``folder``: of the script; ``at_start``: the modules that an interpreter has imported before its script begins."""
        self._folder, self._at_start = folder, {_top(name) for name in at_start}
        self._pid, self._workdir, self._read = os.getpid(), os.getcwd(), _position()

    def bring(self, module: str, names: Iterable[str] = (), *, folder: str | None = None) -> None:
        """Import a module as ``from module import names`` does, also from ``folder``. Raises Cold if no child may be forked after that."""
        before, printed = _open_files(), _sizes()
        if folder is not None:
            sys.path.insert(0, folder)
        try:
            __import__(module, fromlist=[name for name in names if name != "*"])
        except BaseException as error:  # whatever it is: the job will meet it, too, and it is the job that reports it
            raise Cold(f"{module} cannot be imported ({type(error).__name__}: {error})") from None
        finally:
            if folder is not None:
                sys.path.remove(folder)
        if os.getpid() != self._pid:  # the import has made a copy of us, of which the original knows
            os._exit(0)
        _check_process(f"importing {module}")
        if os.getcwd() != self._workdir:
            raise Cold(f"importing {module} changes the working folder")
        if _position() != self._read:
            raise Cold(f"importing {module} reads standard input, which each job has to read")
        for number, path in _open_files().items():
            if before.get(number) != path and path not in _SAFE_FILES:
                raise Cold(f"importing {module} opens {path}, which all jobs would share")
        if _sizes() != printed:
            raise Cold(f"importing {module} prints something, which each job has to print")

    def bring_if_related(self, module: str) -> None:
        """Import a module that a job has imported, if it is of the standard library, or of a package that we have imported anyway.
        Raises Cold as `bring` does."""
        if module in sys.modules or not (_top(module) in sys.modules or _top(module) in _standard_names()):
            return
        try:
            self.bring(module)
        except Cold:
            if module in sys.modules:
                raise

    def check_names(self) -> None:
        """Raise Cold if a file in the script's folder hides a module that we have imported from elsewhere."""
        try:
            entries = os.listdir(self._folder)
        except OSError:
            return
        there = {_top(entry) for entry in entries if entry.endswith((".py", ".so", ".pyc"))}
        there |= {entry for entry in entries if os.path.exists(os.path.join(self._folder, entry, "__init__.py"))}
        for name in sorted(there & {_top(name) for name in sys.modules} - self._at_start):
            origin = getattr(sys.modules.get(name), "__file__", None) or ""
            if not origin.startswith(os.path.join(self._folder, "")):
                raise Cold(f"{name} in the folder of the script hides a module of the library")


def _top(name: str) -> str:
    """What stands before the first dot."""
    return name.partition(".")[0]


def _standard_names() -> frozenset[str]:
    """The modules of the standard library; 3.9 does not know them."""
    return getattr(sys, "stdlib_module_names", frozenset())


def _check_process(doing: str) -> None:
    """Raise Cold if ``doing`` that has left threads that a child would lack, or takes the ends of children from us."""
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        raise Cold(f"{doing} starts a thread")
    if len(os.listdir("/proc/self/task")) > 1 and (name := _lasting_thread()):
        raise Cold(f"{doing} starts threads ({name}) that are not known to survive a fork")
    if signals.getsignal(signals.SIGCHLD) != signals.SIG_DFL:
        raise Cold(f"{doing} changes what is done when a child ends")
    if any(signals.getitimer(which)[0] for which in (signals.ITIMER_REAL, signals.ITIMER_VIRTUAL, signals.ITIMER_PROF)):
        raise Cold(f"{doing} sets a timer, which a fork does not copy")
    if _has_children():
        raise Cold(f"{doing} starts a process, which all jobs would share")


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _lasting_thread() -> str | None:
    """The name of a thread that goes on when we fork, unless it is known to do no harm; None if there is none.

    Libraries such as OpenBLAS end theirs in a handler of pthread_atfork(3), and start them again when they are needed.
    """
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open(f"/proc/self/task/{task}/comm") as file:
                name = file.read().strip()
            if name not in _SAFE_THREADS:
                return name
    return None


def _open_files() -> dict[str, str]:
    """What is open, by its descriptor."""
    found = {number: _opened(number) for number in os.listdir("/proc/self/fd")}
    return {number: path for number, path in found.items() if path is not None}


def _opened(number: str) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:  # the folder itself, while it was read
        return None


def _position() -> int:
    """How much of standard input has been read; -1: it is not known."""
    try:
        return os.lseek(0, 0, os.SEEK_CUR)
    except OSError:  # a pipe, or closed
        return -1


def _sizes() -> list[int]:
    """How much was written to our standard output and error, which are files."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return [os.fstat(number).st_size for number in (1, 2)]


class Lessons:
    """What the first job that ends has imported besides, as far as it is installed: in memory that it shares with us, so that it has no
    descriptor for that."""

    def __init__(self) -> None:
        self._memory, self._installed = mmap.mmap(-1, _LESSONS), _library_folders()

    def write(self, modules: Iterable[str]) -> None:
        """In a job: leave the names, unless another job has."""
        data = "\n".join(filter(self._is_installed, modules)).encode("utf-8", "replace")[: _LESSONS - 4]
        if self._memory[:4] == bytes(4):
            self._memory[4 : 4 + len(data)] = data
            self._memory[:4] = (len(data) + 1).to_bytes(4, "big")

    def _is_installed(self, name: str) -> bool:
        """Not so a file of the script's own that has the name of one that is installed."""
        module = sys.modules.get(name)
        values = vars(module) if isinstance(module, type(sys)) else {}
        origin = getattr(values.get("__spec__"), "origin", None)
        return isinstance(origin, str) and (origin in ("built-in", "frozen") or origin.startswith(self._installed))

    def read(self) -> list[str] | None:
        """The names, if there are any yet."""
        size = int.from_bytes(self._memory[:4], "big")
        return self._memory[4 : 3 + size].decode("utf-8", "replace").splitlines() if size else None
