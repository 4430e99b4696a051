"""The parts of one run, wherever they were done, become one run: with all inputs in their order, and what became of each job.

    shard 1/N ... N/N --same work, same inputs, all there--> rows and outputs of all --> run

What could not be continued under one name cannot be merged, either. Jobs have kept the numbers that they have in the whole list, so rows
are taken as they are. The parts stay as they were.
"""

from __future__ import annotations

import heapq
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from manyhands.core.errors import InputError, JournalError, UsageError
from manyhands.core.hints import option_name
from manyhands.core.job import Values
from manyhands.core.number_set import Numbers
from manyhands.core.records import replace
from manyhands.execution.carrying import created, plan_of, settled
from manyhands.execution.continuation import UNTRUSTED
from manyhands.inputs.grouping import in_groups
from manyhands.inputs.sharing import Share
from manyhands.inputs.sources import Rows as GivenRows
from manyhands.inputs.value_file import FIRST, Place, encode_values, kept_source, load, place_of
from manyhands.posix.durable_files import Disk
from manyhands.storage.database import connect
from manyhands.storage.rows import ENDED
from manyhands.storage.runs import Run, Store, check_run_id
from manyhands.storage.schema import explained
from manyhands.storage.transfer import Row, Rows, files_in, fill, rows_of
from manyhands.work.plan import Plan
from manyhands.work.shard import Shard

_STARTED, _WALL = ENDED.index("started"), ENDED.index("wall")
_JOB: Final = 0


class Part(NamedTuple):
    """One of the runs that are merged."""

    run: Run
    plan: Plan
    shard: Shard


def merge(store: Store, runs: Sequence[Run], run_id: str) -> tuple[Run, str | None]:
    """(the run that all ``runs`` make together, a remark if there is one). Raises UsageError unless they are all parts of one run,
    each of them there once; BusyError, JournalError."""
    check_run_id(run_id)
    if store.get(run_id):
        raise UsageError(f"the run {run_id} exists: choose another name with {option_name('--run-id')}")
    parts = _parts(runs)
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(settled(part.run))
        share = _all_inputs(parts)
        return created(store, run_id, _request(parts, share), _Filling(parts, share, store.root / run_id)), _remark(parts)


def _parts(runs: Sequence[Run]) -> list[Part]:
    """The parts by their index. Raises UsageError for gaps, overlaps, and parts of different runs."""
    found: dict[int, Part] = {}
    first: Part | None = None
    for run in runs:
        plan = plan_of(run)
        if plan.shard is None:
            raise UsageError(f"the run {run.id} is no shard: {option_name('--shard')} makes one")
        part = Part(run, plan, plan.shard)
        first = first or part
        if why := _difference(part, first):
            raise UsageError(f"{first.run.id} and {run.id} are not shards of one run: {why}")
        if other := found.get(part.shard.index):
            raise UsageError(f"{other.run.id} and {run.id} are both shard {part.shard}")
        found[part.shard.index] = part
    if first is None:
        raise UsageError("no runs to merge: name all shards of one run")
    missing = [str(k) for k in range(1, first.shard.count + 1) if k not in found]
    if missing:
        raise UsageError(f"shard {', '.join(missing[:5])}{' ...' * (len(missing) > 5)} of {first.shard.count} is missing")
    return [found[index] for index in sorted(found)]


def _difference(part: Part, first: Part) -> str | None:
    """Why two parts do not belong to one run, in words; None if they do."""
    here, there = part.shard, first.shard
    if here.count != there.count:
        return f"one is a shard of {there.count}, the other of {here.count}"
    if (here.inputs, here.total) != (there.inputs, there.total):
        return "they were divided from different inputs"
    if here.times != there.times:
        return f"they were divided by different files of {option_name('--times')}"
    ours, theirs = ([_without_folder(one.identity) for one in x.plan.works] for x in (part, first))
    return "they do different work" if ours != theirs else None


def _without_folder(identity: tuple[object, ...]) -> tuple[object, ...]:
    """What is done, wherever the checkout of a machine was; of a call (kind, text, folder, type)."""
    return identity if identity[0] != "function" else (*identity[:2], *identity[3:])


def _remark(parts: Sequence[Part]) -> str | None:
    if len(folders := {part.plan.workdir for part in parts}) == 1:
        return None
    return f"the shards ran in {len(folders)} folders; a resume of the whole runs in {parts[0].plan.workdir}"


# -- inputs --------------------------------------------------------------------------------------------------------------


def _all_inputs(parts: Sequence[Part]) -> Share:
    """The inputs of all parts in their order. Raises JournalError unless each number is there once."""
    group = parts[0].plan.max_args
    rows: list[Values] = []
    place = 0
    for place, (number, values) in enumerate(heapq.merge(*map(_numbered, parts), key=lambda one: one[0]), 1):
        if number != place:
            raise JournalError(
                f"the shards do not fit: job {min(number, place)} is {'twice there' if number < place else 'missing'}"
            )
        rows += [values] if group is None else [(value,) for value in values]
    if place != parts[0].shard.total:
        raise JournalError("the shards do not fit: they have other jobs than the whole")
    return Share(rows, parts[0].run.record.get("columns") or _columns(parts), None)


def _columns(parts: Sequence[Part]) -> Sequence[str]:
    return next((part.run.record["columns"] for part in parts if part.run.record.get("columns")), ())


def _numbered(part: Part) -> Iterator[tuple[int, Values]]:
    spec = part.plan.source
    if spec["kind"] not in ("rows", "kept"):  # anything else would be read here, from files of this machine
        raise JournalError(f"the run {part.run.id} does not hold its inputs, as a shard does")
    source = kept_source(part.run.path, spec) if spec["kind"] == "kept" else GivenRows.of(spec)
    jobs: Iterable[Values | None] = source if part.plan.max_args is None else in_groups(source, part.plan.max_args)
    values = (tuple(one) for one in jobs if one is not None)
    try:
        yield from zip(part.shard.jobs, values, strict=True)
    except ValueError:
        raise JournalError(f"the run {part.run.id} has not the inputs that its shard has") from None


# -- the new run ---------------------------------------------------------------------------------------------------------


def _request(parts: Sequence[Part], share: Share) -> dict[str, Any]:
    """What run.json is to have: a run of one part, which is the whole."""
    first = parts[0]
    whole = replace(first.shard, index=1, count=1, times=None, numbers="")
    source = share.spec() if share.few else share.named(FIRST)
    request = replace(first.plan, shard=whole, source=source).to_json()
    facts: dict[str, Any] = {"created": min(part.run.created for part in parts), "total": first.shard.total}
    if share.columns:
        facts["columns"] = list(share.columns)
    for key in ("environment", "broker", "cluster", "program"):
        if key in first.run.record:
            facts[key] = first.run.record[key]
    if any(part.run.record.get(UNTRUSTED) for part in parts):
        facts[UNTRUSTED] = True
    return request | facts


class _Filling:
    """Writes what a merged run has beside run.json."""

    def __init__(self, parts: Sequence[Part], share: Share, final: Path) -> None:
        self._parts, self._share, self._final = parts, share, final

    def __call__(self, folder: Path, disk: Disk, last: ExitStack) -> None:
        """Into ``folder``, which will have its final name later. Raises ManyhandsError, OSError."""
        if not self._share.few:
            self._share.keep(folder, disk, last, wait=True)  # the parts may be removed after that
        for path in (part.run.path / "stdin" for part in self._parts):
            if path.exists():
                _copy(path, folder / "stdin", disk)
                break
        for number in range(len(self._parts[0].plan.works)):
            name = "" if number == 0 else f"stage-{number + 1}"
            self._stage([part.run.stages[number] for part in self._parts], folder / name, self._final / name, disk)

    def _stage(self, stages: Sequence[Run], folder: Path, final: Path, disk: Disk) -> None:
        with ExitStack() as stack, explained(folder / "journal.db", "merge"):
            read = []
            for stage in stages:
                db = stack.enter_context(closing(connect(stage.path / "journal.db")))
                read.append(rows_of(db, stage.outputs))
            began = chain.from_iterable(map(self._began, self._parts, stages, read))
            ended = heapq.merge(
                *(self._ended(rows, stage, folder, disk) for stage, rows in zip(stages, read, strict=True)), key=_over
            )
            fill(
                folder / "journal.db",
                Rows(began, ended, _one_execution([list(rows.executions) for rows in read])),
                final / "outputs",
            )

    def _began(self, part: Part, stage: Run, rows: Rows) -> Iterator[Row]:
        """The attempts of a part; an input that is in a file of it is where it is in the new run."""
        own = Numbers(part.shard.jobs)
        for row in rows.began:
            number, attempt, key, blob = row
            if number not in own:
                raise JournalError(f"the run {part.run.id} has done job {number}, which is none of shard {part.shard}")
            if (place := place_of(blob)) is None:
                yield row
            else:
                here = self._places.get(number)
                yield number, attempt, key, here.reference if here else encode_values(load(stage.path, place))

    @property
    def _places(self) -> Mapping[int, Place]:
        """Where the inputs of jobs are; those of groups are in the journal."""
        return self._share.places if self._parts[0].plan.max_args is None else {}

    def _ended(self, rows: Rows, stage: Run, folder: Path, disk: Disk) -> Iterator[Row]:
        for row in rows.ended:
            for name in files_in(row):
                if (file := stage.outputs / name).is_file():
                    _copy(file, folder / "outputs" / name, disk)
            yield row


def _over(row: Row) -> float:
    """When an attempt ended."""
    return float((row[_STARTED] or 0.0) + row[_WALL])


def _one_execution(each: Sequence[Sequence[Row]]) -> list[Row]:
    """As if one execution had done all: from the first start to the last end."""
    every = [*chain.from_iterable(each)]
    if not every:
        return []
    began = min(started for _, started, _, _ in every)
    took = max(started + wall for _, started, wall, _ in every) - began
    return [(1, began, took, int(all(rows and rows[-1][3] for rows in each)))]


def _copy(path: Path, to: Path, disk: Disk) -> None:
    file = disk.create(to)
    try:
        with (
            open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as source,
            open(file, "wb", closefd=False) as target,
        ):
            shutil.copyfileobj(source, target)
        disk.sync(file)
    except OSError as error:
        raise InputError(f"cannot copy {path}: {error.strerror}") from error
    finally:
        os.close(file)
