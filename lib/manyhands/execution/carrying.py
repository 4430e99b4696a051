"""A run that leaves the machine as one file, and comes back, there or elsewhere.

    run --settled, pack--> FILE --Archive, unpack--> run, with another token

A run that has come from elsewhere can be read. It cannot be continued, because that runs the commands in it and unpickles values, unless
whoever imports it says that the file can be trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from manyhands.core.errors import CannotCreateError, InputError, JournalError, ManyhandsError, UsageError
from manyhands.core.hints import option_name
from manyhands.execution.continuation import UNTRUSTED
from manyhands.execution.recovery import take_over
from manyhands.inputs.value_file import FILE_NAME
from manyhands.posix.durable_files import Disk, replacing
from manyhands.storage.archive import pack
from manyhands.storage.runs import Fill, Run, RunLock, Store, check_run_id, delete_folder, lock_own
from manyhands.storage.unpacking import Archive
from manyhands.work.broker_url import PASSWORD, STORE_PASSWORD
from manyhands.work.plan import Plan
from manyhands.work.submitted import Submitted

_FACTS: Final = ("created", "columns", "total", "environment", "broker", "cluster", "program")
"""What run.json has beside the plan, or what a plan does not give back as it was."""


@contextmanager
def settled(run: Run) -> Iterator[RunLock]:
    """Hold the lock of a run that is not going on, and see to it that its journals are whole, with an end for every attempt, as a
    resume would. Raises BusyError, JournalError, UsageError."""
    if Submitted.of(run.record):
        raise UsageError(f"the run {run.id} was submitted, and is not collected yet")
    plan = plan_of(run)
    with closing(lock_own(run)) as held:
        for number, stage in enumerate(run.stages, 1):
            with closing(stage.journal(check=True)) as journal:
                take_over(stage, plan.stage(number), journal)
        yield held


def plan_of(run: Run) -> Plan:
    """The plan of a run that is not to be carried out here: values that are not stored are not needed."""
    return Plan.from_json(run.record, _anything(run.record))


def export_to(run: Run, path: Path) -> None:
    """Write a run to a file that only we can read, whole or not at all. Raises ManyhandsError."""
    with settled(run):
        try:
            with replacing(path, mode=0o600) as stream:
                os.fchmod(stream.fileno(), 0o600)  # also if it takes the place of another
                pack(run, stream)
        except OSError as error:
            raise CannotCreateError(f"cannot write {os.fspath(path)}: {error.strerror or error}") from error


def import_from(store: Store, path: Path, *, run_id: str | None, trusted: bool, most: int) -> Run:
    """Make a run of an archive; ``run_id``: by default the one that it had. ``most``: bytes, unpacked. Raises ManyhandsError."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: {error.strerror}") from None
    with file:
        archive = Archive(file, os.fspath(path), most)
        request = _request(archive.record, os.fspath(path))
        name = run_id or str(archive.record["id"])
        check_run_id(name)
        if store.get(name):
            raise UsageError(f"the run {name} exists: choose another name with {option_name('--run-id')}")
        if run_id is None:
            request["named"] = bool(archive.record.get("named"))
        if not trusted:
            request[UNTRUSTED] = True
        return created(store, name, request, lambda folder, disk, _: archive.unpack(folder, store.root / name, disk))


def created(store: Store, name: str, request: Mapping[str, Any], fill: Fill) -> Run:
    """Make a run with files that ``fill`` writes, all of it or nothing. Raises what ``fill`` raises."""
    failed: list[ManyhandsError] = []

    def filled(folder: Path, disk: Disk, last: ExitStack) -> None:
        try:
            fill(folder, disk, last)
        except BaseException as error:
            delete_folder(folder)
            if isinstance(error, ManyhandsError):
                failed.append(error)
            raise

    try:
        run, held = store.create(request, name, filled)
    except CannotCreateError as error:
        raise failed[0] if failed else error from None
    held.close()
    return run


def _request(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What run.json is to have. Raises InputError for what is no request for a run."""
    try:
        _check_facts(record)
        request = Plan.from_json(record, _anything(record)).to_json()
    except (ManyhandsError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{name}: its run.json is no request for a run ({error!s:.200}); nothing was imported") from None
    return request | {key: record[key] for key in _FACTS if key in record}


def _check_facts(record: Mapping[str, Any]) -> None:
    kept = record["source"].get("file") if record["source"]["kind"] == "kept" else None
    total, wrong = record.get("total", 0), []
    if kept is not None and not (isinstance(kept, str) and FILE_NAME.fullmatch(kept)):
        wrong.append("source")
    if total is not None and (type(total) is not int or not 0 <= total < 1 << 62):
        wrong.append("total")
    wrong += [key for key in ("id", "program") if not isinstance(record.get(key, ""), str)]
    if wrong or "id" not in record:
        raise JournalError(f"{', '.join(wrong) or 'id'} cannot be read")


def _anything(record: Mapping[str, Any]) -> dict[str, str]:
    """An environment that has every variable that the run was given, and passwords."""
    given = record.get("environment")
    names = (*(given if isinstance(given, dict) else ()), PASSWORD, STORE_PASSWORD)
    return dict.fromkeys(names, "-") | dict(os.environ)
