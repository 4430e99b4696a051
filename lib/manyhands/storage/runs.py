"""Runs on disk: where they are, how one is made, found, locked and removed.

    STATE/runs/ID/   0700    run.json   what was requested
                             journal.db what happened (`manyhands.storage.journal`)
                             outputs/   large outputs of jobs
                             inputs     inputs from a pipe (inputs.part until it has ended), inputs.sum: their size and CRC
                             inputs.1   inputs of a program that are many or large (`manyhands.inputs.value_file`)
                             lock       held by the coordinator AND its launchers

The lock is flock(2) on one open file that the launchers inherit: it is free only when the coordinator and every process that could
still have one of its jobs are gone. So a process that gets the lock knows that no earlier attempt is alive.
Nothing here follows a symbolic link or trusts a folder that another user can write to.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from manyhands.core.errors import BusyError, CannotCreateError, JournalError, ManyhandsError, UsageError
from manyhands.core.hints import given_as, option_name, typed
from manyhands.core.patterns import pattern
from manyhands.core.records import dataclass, replace
from manyhands.posix.durable_files import Disk, Unsynchronised, size_of
from manyhands.posix.home import home_folder
from manyhands.storage.database import connect, connect_unkept
from manyhands.storage.journal import Journal
from manyhands.storage.locks import RunLock as RunLock
from manyhands.storage.locks import is_busy as is_busy
from manyhands.storage.locks import lock as lock
from manyhands.storage.run_json import RUN_SCHEMA, parse, to_bytes
from manyhands.storage.short_ids import LEAST, short_ids

_STALE: Final = 86400.0  # seconds: making a run never takes so long
_FRESH: Final = pattern(r"[0-9a-f]{8}")
Fill = Callable[[Path, Disk, ExitStack], None]
"""Writes files into the folder of a new run. The stack is left when the run exists, or when it is clear that it will not."""
_ID = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_state_dir(env: Mapping[str, str]) -> Path:
    """``$XDG_STATE_HOME/manyhands``, by default ``~/.local/state/manyhands`` (XDG Base Directory Specification 0.8)."""
    base, home = env.get("XDG_STATE_HOME", ""), home_folder(env)
    if not base.startswith("/") and home is None:
        raise CannotCreateError(
            f"there is no home folder to keep runs in: set HOME or XDG_STATE_HOME, or give {option_name('--state-dir')}"
        )
    return (Path(base) if base.startswith("/") else Path(home or "/", ".local", "state")) / "manyhands"


@dataclass(frozen=True, slots=True)
class Run:
    """One run on disk. ``record`` is the content of run.json."""

    id: str
    path: Path
    record: dict[str, Any]

    @property
    def outputs(self) -> Path:
        """The folder for the output of jobs."""
        return self.path / "outputs"

    @property
    def token(self) -> str:
        """A random word in the environment of every job of this run, which identifies its stray processes."""
        return str(self.record["token"])

    @property
    def created(self) -> float:
        """Seconds since the epoch."""
        return float(self.record["created"])

    @property
    def named(self) -> bool:
        """Whether the user has named it; unknown, so False, for runs of an earlier version."""
        return bool(self.record.get("named", not _FRESH.fullmatch(self.id)))

    @property
    def size(self) -> int:
        """Bytes that it takes on the disk."""
        return size_of(self.path)

    @property
    def stages(self) -> list[Run]:
        """The run itself, and a run for each further stage: the same, with a journal and outputs of its own."""
        further = range(2, len(self.record.get("then", ())) + 2)
        return [
            self,
            *(
                replace(self, path=self.path / f"stage-{n}", record=self.record | {"token": f"{self.token}-{n}"})
                for n in further
            ),
        ]

    def journal(self, *, check: bool = False) -> Journal:
        """Open the journal; raises JournalError."""
        return Journal.open(self.path / "journal.db", check=check, connect=connect if self.kept else connect_unkept)

    @property
    def kept(self) -> bool:
        """Whether it must survive a loss of power; else no write waits for the disk."""
        return bool(self.record.get("kept", True))

    @property
    def disk(self) -> Disk:
        """The disk that its files are written to."""
        return Disk() if self.kept else Unsynchronised()


class Store:
    """All runs below one state folder; ``given``: that folder as the user typed it, for commands in messages;
    ``program``: the name of the program that makes runs here through the library."""

    _more: Mapping[str, Any] = MappingProxyType({})
    """What is written to run.json besides the request."""

    @property
    def keeps(self) -> bool:
        """Whether its runs can be resumed."""
        return bool(self._more.get("kept", True))

    def __init__(self, state: Path, *, given: str | None = None, program: str | None = None) -> None:
        self.state, self.given, self.program = state, given, program
        self.root = state / "runs"

    def create(
        self,
        request: Mapping[str, Any],
        run_id: str | None = None,
        fill: Fill | None = None,
    ) -> tuple[Run, RunLock]:
        """Make the folder of a new run, lock it, and let ``fill`` write more files into it. Raises CannotCreateError (73)."""
        named = run_id is not None
        if run_id is not None:
            check_run_id(run_id)
        for folder in (self.state, self.root):
            own_folder(folder)
        self._sweep()
        run_id = run_id or self._fresh_id()
        record = {
            "schema": RUN_SCHEMA,
            "id": run_id,
            "created": time.time(),
            "token": os.urandom(8).hex(),
            "named": named,
            **self._more,
            **request,
        }
        if self.program:
            record["program"] = self.program
        run = Run(run_id, self.root / run_id, record)
        half = self.root / f".new-{os.urandom(8).hex()}"
        try:
            return run, _make(Run(run_id, half, record), run.path, fill)
        except BaseException as error:  # such as Ctrl-C
            delete_folder(half)
            if not isinstance(error, OSError | JournalError):
                raise
            if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise _made_by_another(run) from None
            why = (error.strerror or error) if isinstance(error, OSError) else error
            raise CannotCreateError(f"cannot create the run {run.path}: {why}") from error

    def find(self, prefix: str | None = None, *, by_program: bool = True) -> Run:
        """The run whose id is ``prefix`` or begins with it; None: the newest run, or without ``by_program`` the newest that was made
        by a command. Raises UsageError unless exactly one matches."""
        if prefix is None:
            return self._newest(by_program=by_program)
        if exact := self.get(prefix):
            return exact
        found = [name for name in self._names() if name.startswith(prefix)] if prefix else []
        if not found:
            raise UsageError(f"no run {prefix!r} in {self.root}; {self.typed('batch.list')} shows those that exist")
        if len(found) > 1:
            raise UsageError(f"{prefix!r} is the beginning of {len(found)} runs: {', '.join(sorted(found)[:5])}")
        return self._load(found[0])

    def _newest(self, *, by_program: bool) -> Run:
        every = self.all()
        found = every if by_program else [run for run in every if not run.record.get("program")]
        if found:
            return found[0]
        if not every:
            raise UsageError(f"there are no runs in {self.root}")
        raise UsageError(
            f"all runs in {self.root} were made by programs, the newest, {self.short(every[0])}, by "
            f"{every[0].record['program']}: give the id of one; {self.typed('batch.list')} shows them"
        )

    def running(self, prefix: str | None = None) -> Run:
        """`find`; without ``prefix`` the only run that is going on. Raises UsageError if there is none, or several."""
        if prefix is not None:
            return self.find(prefix)
        found = [run for run in self.all() if is_busy(run)]
        if not found:
            raise UsageError(f"no run in {self.root} is going on")
        if len(found) > 1:
            raise UsageError(f"{len(found)} runs are going on: name one of {', '.join(map(self.short, found[:5]))}")
        return found[0]

    def get(self, run_id: str) -> Run | None:
        """The run with exactly this id, if there is one."""
        return self._load(run_id) if _ID.fullmatch(run_id) and (self.root / run_id).is_dir() else None

    def all(self, damaged: list[str] | None = None) -> list[Run]:
        """Every readable run, newest first; ``damaged`` gets the ids of the others, but not of what is half made or half removed."""
        runs = []
        for name in self._names():
            try:
                runs.append(self._load(name))
            except ManyhandsError:
                if damaged is not None and (self.root / name / "run.json").exists():
                    damaged.append(name)
        return sorted(runs, key=lambda run: (run.created, run.id), reverse=True)

    def names(self) -> list[str]:
        """The ids of all folders that look like runs, the newest first; none is opened, so this is quick."""

        def changed(name: str) -> float:
            with suppress(OSError):
                return (self.root / name).stat().st_mtime
            return 0.0

        return sorted(self._names(), key=changed, reverse=True)

    @staticmethod
    def update(run: Run, changes: Mapping[str, Any]) -> Run:
        """Change the request of a run; its lock must be held."""
        record = run.record | dict(changes)
        fresh, disk = run.path / "run.json.new", run.disk
        try:
            fresh.unlink(missing_ok=True)
            disk.write_new(fresh, to_bytes(record))
            disk.rename(fresh, run.path / "run.json")
            disk.sync_folder(run.path)
        except OSError as error:
            raise JournalError(f"cannot write {run.path / 'run.json'}: {error.strerror or error}") from error
        return replace(run, record=record)

    def typed(self, *words: str) -> str:
        """A command about these runs, as the user can type it."""
        return typed(*words, state_dir=self.given)

    def short(self, run: Run) -> str:
        """A short name for a run: its name if it has one, else the shortest unique beginning of its id, of at least 4 characters."""
        if run.named:
            return run.id
        near = [name for name in self._names() if name.startswith(run.id[:LEAST])]
        return short_ids(near).get(run.id, run.id)  # it may have been removed while it ran

    def shorts(self) -> dict[str, str]:
        """For each id its shortest unique beginning, of at least 4 characters."""
        return short_ids(self._names())

    def remove(self, run: Run) -> None:
        """Delete a run. Raises BusyError while a process is working on it."""
        held = lock(run)
        try:
            discard(run)
        finally:
            held.close()

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.root) if _ID.fullmatch(name)]
        except FileNotFoundError:
            return []

    def _sweep(self) -> None:
        """Remove the folders of processes that were killed while making a run."""
        for half in self.root.glob(".new-*"):
            with suppress(OSError):
                if half.stat().st_mtime < time.time() - _STALE:
                    delete_folder(half)

    def _fresh_id(self) -> str:
        while (self.root / (fresh := os.urandom(4).hex())).exists():
            pass
        return fresh

    def _load(self, name: str) -> Run:
        path = self.root / name
        try:
            data = _read_private(path / "run.json")
        except OSError as error:
            raise JournalError(f"cannot read the run {name}: {path / 'run.json'}: {error.strerror}") from error
        return Run(name, path, parse(data, name) | {"id": name})


def delete_folder(folder: Path, *, ignore_errors: bool = True) -> None:
    """Delete a folder and all that is in it; links are not followed."""
    import shutil  # here: it imports all kinds of compression

    shutil.rmtree(folder, ignore_errors=ignore_errors)


def _make(half: Run, path: Path, fill: Fill | None) -> RunLock:
    """Make the folder of a run under a hidden name, lock it, and rename it when all of it is durable.

    So a run exists completely or not at all, and no other process can take its lock before its maker.
    """
    disk = half.disk
    for stage in half.stages:
        stage.path.mkdir(mode=0o700)
        stage.outputs.mkdir(mode=0o700)
        Journal.create(stage.path / "journal.db", connect if half.kept else connect_unkept).close()
    with ExitStack() as failing:
        with ExitStack() as last:
            if fill:
                fill(half.path, disk, last)
            disk.write_new(half.path / "run.json", to_bytes(half.record))
            held = lock(half)
            failing.callback(held.close)
            for stage in half.stages:
                disk.sync_folder(stage.path)
            disk.rename(half.path, path)
            disk.sync_folder(path.parent)
        failing.pop_all()
    return held


def _made_by_another(run: Run) -> ManyhandsError:
    """The error for a new run that exists already."""
    try:
        lock(run).close()
    except ManyhandsError as error:
        return error
    return BusyError(f"run {run.id} was made by another process at this moment; start again to continue it")


def check_run_id(run_id: str) -> None:
    """Raise UsageError unless ``run_id`` can be the name of a folder and is easy to type."""
    if not _ID.fullmatch(run_id):
        raise UsageError(
            f"{given_as('--run-id', repr(run_id))}: use letters, digits, '.', '_' and '-', at most 64, not beginning with a sign"
        )


def lock_own(run: Run) -> RunLock:
    """Take the lock of a run in order to continue it, which runs the commands in its folder, and reads its pickles.

    Raises CannotCreateError for a run of another user, BusyError while another process is working on it.
    """
    for path in (run.path, run.path / "journal.db"):
        with suppress(FileNotFoundError):
            found = path.lstat()
            if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                who = "can be written to by others" if found.st_uid == os.geteuid() else "belongs to another user"
                raise CannotCreateError(f"{path} {who}: a resume runs its commands, so only its owner may continue it")
    return lock(run)


def discard(run: Run) -> None:
    """Delete the folder of a run; the caller holds its lock, or the run has never begun."""
    # run.json is removed last: until then the folder is a run, whose removal can be repeated.
    for entry in sorted(run.path.iterdir(), key=lambda entry: entry.name == "run.json"):
        if entry.is_dir() and not entry.is_symlink():
            delete_folder(entry, ignore_errors=False)
        else:
            entry.unlink()
    run.path.rmdir()


def own_folder(path: Path) -> None:
    """Make ``path`` (0700) if necessary, and check that no other user can write to it and that it is not a link."""
    try:
        if not path.exists():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(PermissionError):  # not every parent can be opened
                Disk().sync_folder(path.parent)
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise CannotCreateError(f"the state folder {path} is a symbolic link; use the folder it points to")
        if found.st_uid != os.geteuid():
            raise CannotCreateError(
                f"the state folder {path} belongs to another user; choose another with {option_name('--state-dir')}"
            )
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise CannotCreateError(f"the state folder {path} can be written to by others; run chmod go-w on it first")
        if not os.access(path, os.W_OK | os.X_OK):
            raise CannotCreateError(
                f"the state folder {path} is read-only; choose another with {option_name('--state-dir')}"
            )
    except OSError as error:
        why = f"cannot make the state folder {path}: {error.strerror}"
        raise CannotCreateError(f"{why}; choose another with {option_name('--state-dir')} or XDG_STATE_HOME") from error


def _read_private(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return file.read()
