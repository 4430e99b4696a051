"""The coordinator's side of worker processes: starts them, and ends what they leave behind.

    WorkerPool.make(slot) --multiprocessing--> a process in `manyhands.backends.workers.worker_main.main`, with a socket of its own

Separate from `manyhands.backends.processes`, which decides which worker gets which job.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.util import get_temp_dir
from typing import Any, Final

from manyhands.backends.settings import FunctionSettings
from manyhands.backends.shared.slot import Slot
from manyhands.backends.workers import fork_server, worker_main
from manyhands.backends.workers.handle import Handle
from manyhands.backends.workers.shared_page import Page
from manyhands.backends.workers.watchdog import end_trees
from manyhands.core.errors import ManyhandsError, UsageError
from manyhands.core.limits import MOST_BY_ITSELF
from manyhands.core.package_location import LIBRARY
from manyhands.posix import linux
from manyhands.runtime import at_fork
from manyhands.runtime.main_guard import WORKER
from manyhands.work.function import Call

_BOOT: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from manyhands.backends.workers.watchdog import main; main(sys.argv[2])"
)


_SPARE: Final = 20
"""Descriptors that must be free before one more worker is started: it takes four, and the coordinator needs some itself."""
_LEAST: Final = 10
"""The same before the first worker, without which no job could be done."""


class WorkerPool:
    """Starts workers for one run, and ends them. Raises UsageError if the function cannot be sent to another process."""

    def __init__(self, settings: FunctionSettings) -> None:
        self._settings = settings
        self._context: Any = mp.get_context(settings.workers.start_method)
        if settings.workers.start_method == "forkserver":
            fork_server.preload()
        self._config: dict[str, Any] = {
            "call": packed(settings.call),
            "columns": settings.columns,
            "outputs": bytes(settings.outputs),
            "workdir": bytes(settings.workdir),
            "nice": settings.nice,
            "token": settings.token.encode(),
            "cap": settings.output_cap,
        }
        self.most = max(settings.slots, MOST_BY_ITSELF)
        """Slots that there can be: the memory that they share with us has room for so many."""
        self._page = Page(self.most)
        self.watchdog = Watchdog(settings)
        if settings.workers.start_method == "forkserver":
            self.watchdog.folder(get_temp_dir())  # which contains the socket of multiprocessing's fork server
        if settings.disposable:
            self.watchdog.folder(str(settings.outputs))

    def make(self, number: int, *, first: bool) -> Handle:
        """Start a worker for slot ``number``; ``first``: there is no other. Raises ManyhandsError if the system cannot start one more."""
        try:
            _have_spare_descriptors(_LEAST if first else _SPARE)
            return self._make(number)
        except (OSError, EOFError) as error:  # EOF: the fork server has hit the same limit, and died of it
            why = error.strerror or str(error) if isinstance(error, OSError) else "the fork server has died"
            raise ManyhandsError(f"cannot start a worker process: {why}") from error

    def _make(self, number: int) -> Handle:
        settings = self._settings
        ours, theirs = socket.socketpair()
        at_fork.note(ours)
        environment = dict(settings.environment) | {b"MH_SLOT": b"%d" % number, b"MH_WORKER": self._mark(b"%d" % number)}
        config = self._config | {"slot": number, "environment": environment}
        kept = tuple(map(worker_main.Inherited, settings.keep_open))
        entry = self._page.entry(number)
        arguments = (theirs, config, worker_main.Inherited(self._page.file), kept)
        try:
            process = self._start(arguments, number)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = Handle(Slot(number, bytes(settings.outputs)), process, ours, entry)
        self.watchdog.add(worker.pid, worker.start)
        return worker

    def _start(self, arguments: tuple[Any, ...], number: int) -> Any:
        """Start a process; try twice, because the fork server may have died since the last start."""
        for _ in range(2):
            process = self._context.Process(target=worker_main.main, args=arguments, name=f"{WORKER}{number}")
            try:
                fork_server.start(process)
                return process
            except (EOFError, ConnectionError) as error:
                died = error
        raise died

    def clear(self, worker: Handle) -> int:
        """End what a dead worker has left behind; return how many processes. Raises ManyhandsError if one cannot be ended."""
        try:
            left = end_trees({worker.pid: worker.start}, b"MH_WORKER=" + self._mark(b"%d" % worker.slot.number))
        except TimeoutError as error:
            raise ManyhandsError(f"a process that a worker has left behind cannot be ended: {error}") from error
        self.watchdog.remove(worker.pid)
        return left

    def clear_all(self, workers: Iterable[Handle]) -> None:
        """End these workers, dead or not, and what they have left behind; processes that cannot be ended are left running."""
        with suppress(TimeoutError):
            end_trees({worker.pid: worker.start for worker in workers}, b"MH_WORKER=" + self._mark(b""), prefix=True)

    def close(self) -> None:
        """End the watchdog. May be called twice."""
        self.watchdog.close()
        self._page.close()

    def drop(self) -> None:
        """In a forked child: close our copies; workers and watchdog belong to the parent."""
        self.watchdog.drop()
        self._page.close()

    def _mark(self, number: bytes) -> bytes:
        """The value of ``MH_WORKER`` in the environment of all that a worker starts."""
        return b"%s.%s" % (self._config["token"], number)


class Watchdog:
    """The coordinator's end of `manyhands.backends.workers.watchdog`, a process in a session of its own, which no terminal can signal."""

    def __init__(self, settings: FunctionSettings) -> None:
        self._token, self._keep_open = settings.token, settings.keep_open
        self._workers: dict[int, int] = {}
        self._folders: set[str] = set()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, LIBRARY, self._token],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=self._keep_open,
                start_new_session=True,
                bufsize=0,
                cwd="/",
            )
        except OSError as error:
            raise ManyhandsError(f"cannot start a watchdog for the workers: {error}") from error
        assert process.stdin  # noqa: S101 - it is a pipe
        os.set_blocking(process.stdin.fileno(), False)
        at_fork.note(process.stdin)
        return process

    def add(self, pid: int, start: int) -> None:
        """Add a worker to watch."""
        self._workers[pid] = start
        self._say(b"+ %d %d\n" % (pid, start))

    def folder(self, path: str) -> None:
        """Add a folder to remove if the coordinator is killed."""
        if "\n" not in path and path not in self._folders:
            self._folders.add(path)
            self._say(b"folder %s\n" % os.fsencode(path))

    def remove(self, pid: int) -> None:
        """Forget a worker that is gone, together with all that it had started."""
        self._workers.pop(pid, None)
        self._say(b"- %d\n" % pid)

    def look_after(self) -> None:
        """Replace it if a job has stopped or killed it: it is needed if the coordinator is killed, too."""
        stat = linux.read_stat(self._process.pid)
        if self._process.poll() is None and stat is not None and stat.state != "T":
            return
        self.close()
        with suppress(ManyhandsError):  # tried again at the next check
            self._process = self._start()
            for pid, start in self._workers.items():
                self._say(b"+ %d %d\n" % (pid, start))
            for path in self._folders:
                self._say(b"folder %s\n" % os.fsencode(path))

    def close(self) -> None:
        """Kill it: it is not needed after an orderly end. May be called twice."""
        self._process.kill()
        self.drop()
        self._process.wait()

    def drop(self) -> None:
        """Close our end only; in a forked child, the watchdog belongs to the parent."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]  # it is a pipe

    def _say(self, line: bytes) -> None:
        with suppress(OSError, ValueError):  # it was stopped or killed, which `look_after` will detect
            self._process.stdin.write(line)  # type: ignore[union-attr]  # it is a pipe


def packed(call: Call, *, main_by_value: bool = False) -> bytes:
    """A call, pickled for another process of this machine: by name if possible, else by value, if cloudpickle is installed.

    ``main_by_value``: the other process is not started by multiprocessing, and does not import the main script.

    Raises UsageError if neither is possible (https://docs.python.org/3/library/pickle.html#what-can-be-pickled-and-unpickled).
    """
    by_name = getattr(call.live, "__module__", None) != "__main__" or (_main_can_be_imported() and not main_by_value)
    if by_name:
        with suppress(Exception):  # a __reduce__ may raise anything
            return pickle.dumps(call)
    try:
        import cloudpickle

        data: bytes = cloudpickle.dumps(call)
        return data
    except Exception as error:
        why = "cloudpickle is not installed" if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{call.name} cannot be sent to another process ({why}): define it at the top of a module, or choose threads"
        ) from None


def _main_can_be_imported() -> bool:
    """Whether a process started by multiprocessing imports our main script (`multiprocessing.spawn.get_preparation_data`).

    It does not for a package (``python -m package``), a zip file, an interactive session, or a program from standard input.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name != "__main__" and not spec.name.endswith(".__main__")
    file = getattr(main, "__file__", None)
    return file is not None and os.path.splitext(os.path.basename(file))[0] != "ipython" and os.path.isfile(file)


def _have_spare_descriptors(number: int) -> None:
    """Raise OSError unless ``number`` descriptors are free: multiprocessing leaks some if they run out while it starts a process."""
    spare: list[int] = []
    try:
        spare.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(number))
    finally:
        for one in spare:
            os.close(one)
