"""What the ``batch`` tasks do: options as they were typed become a plan, a run, and something to look at.

The last place where there are options; from here inwards there are only records. All is checked before anything is run.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path

from manyhands import runs
from manyhands.batch import Batch, Work
from manyhands.console import carry_out
from manyhands.cores import usable_cores
from manyhands.errors import InputError, UsageError
from manyhands.inputs import Args, Glob, Product, Source, Spec, open_source
from manyhands.joblog import Argv, Format, export, job_record
from manyhands.journal import JobRecord, Journal
from manyhands.jsonable import iso
from manyhands.limits import Halt, Limits, parse_duration, parse_jobs, parse_size, parse_timeout
from manyhands.plan import Plan
from manyhands.render.runs import MOST, chosen, first_chosen, header, job_lines, list_lines, one_job, summarise
from manyhands.template import Template, display, fill_slot, user_shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of ``batch`` as they were typed; ``rest`` is what stood after ``--`` (None: there was no ``--``)."""

    template: str
    from_: str | None
    null: bool
    glob: Sequence[str]
    csv: str | None
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
    keep_order: bool
    tag: bool
    dry_run: bool
    workdir: str | None
    env: Sequence[str]
    shell: bool
    stdin: str | None
    output_cap: str | None
    allow_daemons: bool
    nice: int
    backend: str
    run_id: str | None
    quiet: bool
    json: bool
    state_dir: str | None
    rest: Sequence[str] | None


# -- a new run -----------------------------------------------------------------------------------------------------------


def new(asked: Asked, program: str) -> int:
    """Carry out what was asked; returns the exit status. Raises UsageError before anything is run."""
    plan, stream = plan_of(asked)
    if asked.dry_run:
        return _dry_run(plan, stream)
    kept = store(asked.state_dir)
    batch = Batch.start(plan, kept, run_id=asked.run_id, stream=stream)
    return carry_out(batch, kept, json=asked.json, quiet=asked.quiet, program=program)


def plan_of(asked: Asked) -> tuple[Plan, int | None]:
    """(the plan, the descriptor that the inputs come from if they are streamed)."""
    template = Template.parse(asked.template, shell=user_shell(os.environ) if asked.shell else None)
    spec, stream = _source(asked, template)
    limits = Limits(
        jobs=parse_jobs(asked.jobs, usable_cores()), timeout=parse_timeout(asked.timeout),
        grace=parse_duration(asked.grace, "--grace"), retries=asked.retries, delay=parse_duration(asked.delay, "--delay"),
        backoff=parse_duration(asked.backoff, "--backoff"), halt=Halt.parse(asked.halt), keep_order=asked.keep_order,
        output_cap=parse_size(asked.output_cap, "--output-cap") if asked.output_cap else None,
    )  # fmt: skip
    if not 0 <= asked.nice <= 19:
        raise UsageError(f"--nice {asked.nice}: expected 0 to 19")
    return Plan(
        template=template, source=spec, limits=limits, workdir=_folder(asked.workdir), environment=_environment(asked.env),
        stdin=_stdin(asked.stdin, stream), nice=asked.nice, allow_daemons=asked.allow_daemons, backend=asked.backend,
        tag=asked.tag, streamed=stream is not None,
    ), stream  # fmt: skip


def _source(asked: Asked, template: Template) -> tuple[Spec, int | None]:
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
    if kind in ("--from", "--csv", "--jsonl"):
        return _file(kind, asked.csv or asked.jsonl or asked.from_, asked, template)
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


def _file(kind: str, path: str | None, asked: Asked, template: Template) -> tuple[Spec, int | None]:
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("no inputs: give them after --, with --glob, --from, --csv, --jsonl or --each, or pipe them in")
    path = path or "-"
    absolute = path if path == "-" else os.path.abspath(path)
    specs: dict[str, Spec] = {
        "--from": {"kind": "lines", "path": absolute, "null": asked.null, "separator": asked.colsep},
        "--csv": {"kind": "csv", "path": absolute},
        "--jsonl": {"kind": "jsonl", "path": absolute, "names": list(template.fields)},
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


def _dry_run(plan: Plan, stream: int | None) -> int:
    """Print the command lines as they would be run, quoted for a shell."""
    opened = None if stream is None else os.fdopen(os.dup(stream), "rb")
    source = open_source(plan.source, stream=opened)
    renderer = plan.template.bind(source.columns, width=source.width)
    number = 0
    for number, values in enumerate(source, 1):
        slot = (number - 1) % plan.limits.jobs + 1
        sys.stdout.write(display(fill_slot(renderer.argv(values, number), slot)) + "\n")
    if not number:
        raise UsageError("no inputs: nothing to run")
    return 0


# -- runs that exist -----------------------------------------------------------------------------------------------------


def store(state_dir: str | None) -> runs.Store:
    """The runs below ``state_dir``, or below the user's own."""
    return runs.Store(Path(state_dir).absolute() if state_dir else runs.default_state_dir(os.environ))


def again(
    work: Work, run: str | None, *, jobs: str | None, quiet: bool, json: bool, state_dir: str | None, program: str
) -> int:
    """Resume or retry a run; returns the exit status."""
    number = parse_jobs(jobs, usable_cores()) if jobs else None
    make = Batch.resume if work == "rest" else Batch.retry
    kept = store(state_dir)
    batch = make(kept.find(run), os.environ, jobs=number)
    return carry_out(batch, kept, json=json, quiet=quiet, program=program)


def remove(run: str | None, *, older_than: str | None, state_dir: str | None) -> None:
    """Delete one run, or all older than a duration, and say which."""
    found = store(state_dir)
    if (run is None) == (older_than is None):
        raise UsageError("batch.remove: name a run, or give --older-than, but not both")
    if run is not None:
        doomed = [found.find(run)]
    else:
        limit = time.time() - parse_duration(older_than or "", "--older-than")
        doomed = [one for one in found.all() if one.created < limit and not runs.is_busy(one)]
    for one in doomed:
        found.remove(one)
        sys.stdout.write(f"removed {one.id}\n")


def list_runs(*, json: bool, state_dir: str | None) -> None:
    """Print all runs, the newest first."""
    lines = [summarise(run) for run in store(state_dir).all()]
    if json:
        for line in lines:
            record = asdict(line) | {"schema": "manyhands.run/1", "created": iso(line.created)}
            sys.stdout.write(dumps(record) + "\n")
        return
    if not lines:
        sys.stderr.write("there are no runs yet\n")
        return
    for text in list_lines(lines, _width()):
        sys.stdout.write(text + "\n")


def show(run: str | None, *, job: int | None, failed: bool, output: bool, json: bool, state_dir: str | None) -> None:
    """Print a run and its jobs, or one job in full."""
    found = store(state_dir).find(run)
    with closing(found.journal()) as journal:
        argv = _argv(found)
        if job is not None:
            record = journal.record(job)
            if record is None:
                raise UsageError(f"run {found.id} has no job {job}")
            records: Iterator[JobRecord] = iter([record])
        else:
            records = chosen(journal, failed=failed)
        if json:
            for one in records:
                slot = one.outcome.slot if one.outcome else 0
                line = job_record(
                    one.job, one.outcome, run=found.id, argv=argv(one.job, slot), attempts=one.attempt, gone_ok=True
                )
                sys.stdout.write(dumps(line) + "\n")
            return
        for text in _shown(found, journal, records, argv, single=job is not None, output=output, limited=not failed):
            sys.stdout.write(text + "\n")


def _shown(
    found: runs.Run,
    journal: Journal,
    records: Iterator[JobRecord],
    argv: Argv,
    *,
    single: bool,
    output: bool,
    limited: bool,
) -> Iterator[str]:
    def full(one: JobRecord) -> Iterator[str]:
        command = display(argv(one.job, one.outcome.slot if one.outcome else 0))
        return one_job(one, journal.attempts(one.job.number), command, whole=output)

    if single:
        yield from full(next(records))
        return
    line = summarise(found)
    yield from header(found, line, str(found.asked["workdir"]))
    yield ""
    if output:
        for one in records:
            yield from full(one)
            yield ""
        return
    yield from job_lines(first_chosen(journal, MOST) if limited else records, _width())
    more = line.ok + line.failed + line.left - MOST
    if limited and more > 0:
        yield f"... and {more:,} more: --failed, --json, or batch.export {found.id} show them all"


def export_run(run: str | None, format: Format, *, state_dir: str | None) -> None:
    """Write a run's jobs to stdout."""
    found = store(state_dir).find(run)
    with closing(found.journal()) as journal:
        shell = found.asked["shell"] is not None
        export(journal, found.id, format, _argv(found), sys.stdout.buffer.write, shell=shell)
    sys.stdout.buffer.flush()


def _argv(run: runs.Run) -> Argv:
    """How a run's commands are made again, for showing them."""
    environ = dict.fromkeys(run.asked["environment"], "") | dict(os.environ)
    plan = Plan.from_json(run.asked, environ)
    renderer = plan.template.bind(run.asked.get("columns", ()))
    return lambda job, slot: fill_slot(renderer.argv(job.values, job.number), slot)


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns
