"""The options of ``batch`` and ``batch.call`` as they were typed, and how they become a plan.

The last place where there are options; from here inwards there are only records. All is checked before anything is run.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from manyhands.call import Call, Kind, ResultKind
from manyhands.cores import usable_cores
from manyhands.errors import InputError, UsageError
from manyhands.inputs import Args, Glob, Product, Source, Spec, delimiter_of
from manyhands.limits import Halt, Limits, parse_duration, parse_jobs, parse_size, parse_timeout
from manyhands.plan import Order, Plan, Stage, Workers, for_stages
from manyhands.template import Template, user_shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What commands and functions have in common; ``rest`` is what stood after ``--`` (None: there was no ``--``)."""

    from_: str | None
    null: bool
    glob: Sequence[str]
    csv: str | None
    delimiter: str | None
    jsonl: str | None
    colsep: str | None
    each: Sequence[str]
    jobs: str
    timeout: str | None
    grace: str
    retries: int
    delay: str
    backoff: str
    halt: str
    order: Order
    keep_order: bool
    tag: bool
    dry_run: bool
    then: Sequence[str]
    workdir: str | None
    env: Sequence[str]
    output_cap: str | None
    nice: int
    backend: str
    run_id: str | None
    retry_failed: bool
    quiet: bool
    json: bool
    state_dir: str | None
    rest: Sequence[str] | None
    spool_limit: str = "1G"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCommand(Asked):
    """What only commands have."""

    template: str
    shell: bool
    stdin: str | None
    allow_daemons: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCall(Asked):
    """What only functions have."""

    function: str
    type: Kind
    result: ResultKind
    initializer: str | None
    initargs: str | None
    chunk: str
    max_jobs_per_worker: int | None
    start_method: str
    no_journal: bool = False

    def call(self) -> Call:
        """The function; ``--jsonl`` gives whole values."""
        if self.initargs is not None and self.initializer is None:
            raise UsageError("--initargs is for an --initializer")
        try:
            initargs = json.loads(self.initargs or "[]")
        except ValueError:
            initargs = None
        if not isinstance(initargs, list):
            raise UsageError(f"--initargs {self.initargs}: expected a JSON list, such as '[1, \"two\"]'")
        return Call(
            text=self.function, folder=os.getcwd(), type="line" if self.jsonl else self.type, result=self.result,
            initializer=self.initializer, initargs=tuple(initargs),
        )  # fmt: skip


def plan_of(asked: AskedCommand | AskedCall) -> tuple[Plan, int | None]:
    """(the plan, the descriptor that the inputs come from if they are streamed)."""
    if asked.retry_failed and not asked.run_id:
        raise UsageError("--retry-failed is for a run that exists: name it with --run-id")
    folder = _folder(asked.workdir)
    work, *further = _works(asked)
    jobs, backends = (
        for_stages("--jobs", asked.jobs, 1 + len(further)),
        for_stages("--backend", asked.backend, 1 + len(further)),
    )
    cores = usable_cores()
    then = tuple(
        Stage(one, parse_jobs(j, cores), b, j.strip() == "auto")
        for one, j, b in zip(further, jobs[1:], backends[1:], strict=True)
    )
    spec, stream = _source(asked, work)
    limits = Limits(
        jobs=parse_jobs(jobs[0], cores), climb=jobs[0].strip() == "auto", timeout=parse_timeout(asked.timeout),
        grace=parse_duration(asked.grace, "--grace"), retries=asked.retries, delay=parse_duration(asked.delay, "--delay"),
        backoff=parse_duration(asked.backoff, "--backoff"), halt=Halt.parse(asked.halt), keep_order=asked.keep_order,
        output_cap=parse_size(asked.output_cap, "--output-cap") if asked.output_cap else None,
    )  # fmt: skip
    if not 0 <= asked.nice <= 19:
        raise UsageError(f"--nice {asked.nice}: expected 0 to 19")
    plan = Plan(
        template=work, source=spec, limits=limits, workdir=folder, environment=_environment(asked.env), nice=asked.nice,
        backend=backends[0], then=then, tag=asked.tag, streamed=stream is not None, order=asked.order,
        spool_limit=parse_size(asked.spool_limit, "--spool-limit"),
        stdin=_stdin(asked.stdin, stream) if isinstance(asked, AskedCommand) else None,
        allow_daemons=isinstance(asked, AskedCommand) and asked.allow_daemons,
        workers=_workers(asked) if isinstance(asked, AskedCall) else Workers(),
    )  # fmt: skip
    return plan, stream


def _works(asked: AskedCommand | AskedCall) -> list[Template | Call]:
    """What each stage does. A function after the first gets what the one before it returned."""
    if isinstance(asked, AskedCall):
        if asked.then and asked.result != "json":
            raise UsageError(f"--result {asked.result}: the next stage is given what JSON can hold")
        first = asked.call()
        return [first, *(replace(first, text=text, type="json") for text in asked.then)]
    shell = user_shell(os.environ) if asked.shell else None
    return [Template.parse(text, shell=shell) for text in (asked.template, *asked.then)]


def _workers(asked: AskedCall) -> Workers:
    if asked.chunk != "auto" and not asked.chunk.lstrip("-").isdigit():
        raise UsageError(f"--chunk {asked.chunk!r}: expected a number, or auto")
    chunk = None if asked.chunk == "auto" else int(asked.chunk)
    return Workers(start_method=asked.start_method, chunk=chunk, max_jobs=asked.max_jobs_per_worker)


def _source(asked: Asked, work: Template | Call) -> tuple[Spec, int | None]:
    """What describes the inputs, and where they come from if they can be read only once."""
    given = {
        "--": asked.rest, "--from": asked.from_, "--glob": asked.glob, "--csv": asked.csv, "--jsonl": asked.jsonl,
        "--each": asked.each,
    }  # fmt: skip
    chosen = [name for name, value in given.items() if value or (name == "--" and value is not None)]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} both give inputs: choose one")
    kind = chosen[0] if chosen else "--from"
    if asked.null and kind != "--from":
        raise UsageError(f"--null is for inputs from a file or standard input, not for {kind}")
    if asked.colsep and kind != "--from":
        raise UsageError(f"--colsep is for inputs from a file or standard input, not for {kind}")
    if asked.delimiter and kind != "--csv":
        raise UsageError(f"--delimiter is for --csv, not for {kind}")
    if kind in ("--from", "--csv", "--jsonl"):
        return _file(kind, asked.csv or asked.jsonl or asked.from_, asked, work)
    source: Source
    if kind == "--":
        source = Args(asked.rest or ())
    elif kind == "--glob":
        source = Glob(asked.glob)
    else:
        lists = [Args.each(text) for text in asked.each]
        source = Product(lists) if len(lists) > 1 else lists[0]
    if not source.total:
        raise UsageError("no inputs: nothing to run")
    return source.spec(), None


def _file(kind: str, path: str | None, asked: Asked, work: Template | Call) -> tuple[Spec, int | None]:
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("no inputs: give them after --, with --glob, --from, --csv, --jsonl or --each, or pipe them in")
    path = path or "-"
    absolute = path if path == "-" else os.path.abspath(path)
    specs: dict[str, Spec] = {
        "--from": {"kind": "lines", "path": absolute, "null": asked.null, "separator": asked.colsep},
        "--csv": {"kind": "csv", "path": absolute}
        | ({"delimiter": delimiter_of(asked.delimiter)} if asked.delimiter else {}),
        "--jsonl": {"kind": "jsonl", "path": absolute, "names": list(work.fields), "whole": isinstance(work, Call)},
    }
    spec = specs[kind]
    if path == "-":
        return spec, 0
    try:
        if stat.S_ISREG(os.stat(path).st_mode) or os.path.isdir(path):
            return spec, None
        return spec, os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # a named pipe, or <(...) of a shell: it can be read once
    except FileNotFoundError:
        raise InputError(f"{kind}: no such file: {path}") from None
    except PermissionError:
        raise InputError(f"{kind}: no permission to read {path}") from None


def _folder(workdir: str | None) -> str:
    path = os.path.abspath(workdir or ".")
    if not os.path.isdir(path):
        raise UsageError(f"--workdir {workdir}: no such folder")
    return path


def _environment(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not name or (not equals and name not in os.environ):
            raise UsageError(f"--env {entry!r}: expected NAME=VALUE, or the NAME of a variable that is set")
        pairs[name] = value if equals else os.environ[name]
    return pairs


def _stdin(path: str | None, stream: int | None) -> str | None:
    if path is None:
        return None
    if path == "-":
        if stream == 0:
            raise UsageError("--stdin -: standard input already gives the inputs")
        return "-"
    if not os.path.isfile(path):
        raise UsageError(f"--stdin {path}: no such file")
    return os.path.abspath(path)
