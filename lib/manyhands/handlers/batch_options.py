"""How the options of ``batch`` and ``batch.call`` become a plan, and where the inputs come from.

The last place where there are options; from here inwards there are only records. All is checked before anything is run.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from manyhands.core.errors import InputError, UsageError
from manyhands.core.limits import parse_size
from manyhands.core.records import replace
from manyhands.inputs.sources import Args, Glob, Spec, delimiter_of, usual_delimiter
from manyhands.options.batch import CommandOptions, FunctionOptions
from manyhands.posix.home import expanded
from manyhands.work import planning
from manyhands.work.host_list import HostName, hosts_of
from manyhands.work.plan import Plan
from manyhands.work.python_command import warmed
from manyhands.work.queue_kinds import any_elsewhere
from manyhands.work.template import Template, user_shell
from manyhands.work.work import Work
from manyhands.work.worker_settings import Workers

if TYPE_CHECKING:
    from manyhands.work.function import Call

BatchOptions = CommandOptions | FunctionOptions
_NO_INPUTS: Final[Spec] = {"kind": "none"}
"""For ``--on-each``: no inputs are given, and none are to be read."""


def plan_of(options: BatchOptions) -> tuple[Plan, int | None]:
    """(the plan, the descriptor that the inputs come from if they are streamed)."""
    if options.retry_failed and not options.run_id:
        raise UsageError("--retry-failed is for a run that exists: name it with --run-id")
    planning.check_group(options)
    on, on_each = _hosts(options)
    elsewhere = bool(on) or any_elsewhere(options.backend)
    folder = os.fspath(options.workdir or ".") if elsewhere else _folder(options.workdir)
    works = planning.works_on_each(_works(options)) if on_each else _works(options)
    spec, stream = _source(options, works[0])
    if on_each:
        spec = _on_each(spec, [one.name for one in on], streamed=stream is not None)
    if not 0 <= options.nice <= 19:
        raise UsageError(f"--nice {options.nice}: expected 0 to 19")
    plan = planning.plan_of(
        options,
        works,
        spec,
        folder,
        backend=options.backend,
        keep_order=options.keep_order and not options.line_buffer,
        on=on,
        on_each=on_each,
    )
    plan = replace(
        plan,
        environment=_environment(options.env),
        tag=options.tag,
        streamed=stream is not None,
        spool_limit=parse_size(options.spool_limit, "--spool-limit"),
    )
    if isinstance(options, FunctionOptions):
        return replace(plan, workers=_workers(options)), stream
    if elsewhere and options.stdin == "-":
        raise UsageError(
            "--stdin -: our standard input is here, and the commands run elsewhere: give the path of a file there"
        )
    stdin = options.stdin if elsewhere else _stdin(options.stdin, stream)
    plan = replace(plan, stdin=None if stdin is None else os.fspath(stdin), ssh=options.ssh)
    plan = planning.with_files(plan, options)
    return replace(plan, allow_daemons=options.allow_daemons), stream


def _hosts(options: BatchOptions) -> tuple[Sequence[HostName], bool]:
    """(the hosts that run the commands, if it is not this one; whether each of them does each input)."""
    if not isinstance(options, CommandOptions) or not (options.on or options.on_each):
        return (), False
    if options.on_each and options.max_args is not None:
        raise UsageError("--max-args has no effect with --on-each: a job has one input there")
    return (hosts_of(options.on_each, "--on-each"), True) if options.on_each else (hosts_of(options.on), False)


def _on_each(spec: Spec, hosts: Sequence[str], *, streamed: bool) -> Spec:
    """The inputs, each for every host; or, if there are none, the hosts alone."""
    from manyhands.inputs.each_host import hosts_alone, spec_on_each  # here: most batches need none of it

    if spec == _NO_INPUTS:
        return hosts_alone(hosts).spec()
    return spec_on_each(spec, hosts, streamed=streamed)


def call_of(options: FunctionOptions) -> Call:
    """The function; ``--jsonl`` gives whole values."""
    if options.initargs is not None and options.initializer is None:
        raise UsageError("--initargs needs --initializer, which is called with these")
    try:
        initargs = json.loads(options.initargs or "[]")
    except ValueError:
        initargs = None
    if not isinstance(initargs, list):
        raise UsageError(f"--initargs {options.initargs}: expected a JSON list, such as '[1, \"two\"]'")
    from manyhands.work.function import Call  # here: commands need none of it

    return Call(
        text=options.function,
        folder=os.getcwd(),
        type="row" if options.jsonl else options.type,
        result=options.result,
        initializer=options.initializer,
        initargs=tuple(initargs),
    )


def _works(options: BatchOptions) -> list[Work]:
    """What each stage does. A function after the first gets what the one before it returned."""
    if isinstance(options, FunctionOptions):
        if options.then and options.result != "json":
            raise UsageError(f"--result {options.result}: with --then the next stage gets JSON; leave it out")
        first = replace(call_of(options), group=options.max_args)
        return [first, *(replace(first, text=text, type="json", group=None) for text in options.then)]
    shell = user_shell(os.environ) if options.shell else None
    further = [replace(Template.parse(text, shell=shell), group=options.max_args) for text in options.then]
    works = [_first_template(options, shell), *further]
    if not options.warm:
        return [*works]
    search = _environment(options.env).get("PATH") or os.environ.get("PATH", os.defpath)
    return [*warmed(works, options.preload, _folder(options.workdir), os.fsencode(search))]


def _first_template(options: CommandOptions, shell: str | None) -> Template:
    if options.commands is not None:
        _check_commands(options)
        return Template.each_line(shell=shell)
    if options.template is None:
        raise UsageError(
            "batch lacks its template: give a command, such as 'gzip {}', or --commands FILE, each line of which is one"
        )
    return replace(Template.parse(options.template, shell=shell), group=options.max_args)


def _check_commands(options: CommandOptions) -> None:
    """Raise UsageError for what does not go with --commands."""
    others = {
        "a command": options.template is not None,
        "--max-args": options.max_args is not None,
        "--colsep": bool(options.colsep),
    }
    if other := next((name for name, given in others.items() if given), None):
        raise UsageError(f"--commands and {other}: each line is a whole command; leave one of the two out")


def _workers(options: FunctionOptions) -> Workers:
    if options.chunk != "auto" and not options.chunk.lstrip("-").isdigit():
        raise UsageError(f"--chunk {options.chunk!r}: expected a number, or auto")
    chunk = None if options.chunk == "auto" else int(options.chunk)
    return Workers(start_method=options.start_method, chunk=chunk, max_jobs=options.max_jobs_per_worker)


def _source(options: BatchOptions, work: Work) -> tuple[Spec, int | None]:
    """What describes the inputs, and where they come from if they can be read only once."""
    given = {
        "--": options.rest,
        "--commands": options.commands if isinstance(options, CommandOptions) else None,
        "--from": options.from_,
        "--glob": options.glob,
        "--csv": options.csv,
        "--jsonl": options.jsonl,
        "--each": options.each,
    }
    chosen = [name for name, value in given.items() if value or (name == "--" and value is not None)]
    if len(chosen) > 1 and (not options.zip or "--commands" in chosen):
        way = "" if "--commands" in chosen else ", or link them with --zip"
        raise UsageError(f"{' and '.join(chosen)} both give inputs: choose one{way}")
    alone = not chosen and isinstance(options, CommandOptions) and bool(options.on_each)
    kinds = chosen or ["--from"]
    for option, value, where in (
        ("--null", options.null, ("--from", "--commands")),
        ("--colsep", options.colsep, ("--from",)),
        ("--delimiter", options.delimiter, ("--csv",)),
    ):
        if value not in (None, False) and (alone or not set(where) & set(kinds)):
            meant = "inputs from a file or standard input" if where[0] == "--from" else where[0]
            raise UsageError(f"{option} is for {meant}, not for {'--on-each alone' if alone else kinds[0]}")
    if alone and not options.zip:
        return _NO_INPUTS, None
    parts = [part for kind in kinds for part in _parts(kind, options, work)]
    return _together(parts, zipped=options.zip)


def _parts(kind: str, options: BatchOptions, work: Work) -> list[tuple[Spec, int | None]]:
    """The sources of one kind, as `_source` has them."""
    if kind == "--":
        return [(Args(options.rest or ()).spec(), None)]
    if kind == "--glob":
        return [(Glob([expanded(pattern) for pattern in options.glob]).spec(), None)]
    if kind == "--each":
        return [(Args.each(text).spec(), None) for text in options.each]
    commands = options.commands if isinstance(options, CommandOptions) else None
    paths: dict[str, Sequence[str | None]] = {
        "--commands": [commands],
        "--csv": [options.csv],
        "--jsonl": [options.jsonl],
        "--from": options.from_ or [None],
    }
    return [_file(kind, path, options, work) for path in paths[kind]]


def _together(parts: list[tuple[Spec, int | None]], *, zipped: bool) -> tuple[Spec, int | None]:
    """Several sources as one: every combination, or, ``zipped``, the n-th of each."""
    if zipped and len(parts) < 2:
        raise UsageError(
            "--zip links several sources, and there is only one: repeat --each or --from, or give two kinds of inputs"
        )
    if len(parts) == 1:
        return parts[0]
    streams = [stream for _, stream in parts if stream is not None]
    if len(streams) > 1:
        raise UsageError("only one of several sources can be standard input or a pipe: put the others in files")
    if streams and not zipped:
        raise UsageError("every combination needs sources that can be read again: put what comes from a pipe in a file")
    specs: list[Spec] = [spec if stream is None else spec | {"streamed": True} for spec, stream in parts]
    return {"kind": "zip" if zipped else "product", "sources": specs}, next(iter(streams), None)


def _file(kind: str, path: str | None, options: BatchOptions, work: Work) -> tuple[Spec, int | None]:
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("no inputs: give them after --, with --glob, --from, --csv, --jsonl or --each, or pipe them in")
    path = expanded(path or "-")
    absolute = path if path == "-" else os.path.abspath(path)
    specs: dict[str, Spec] = {
        "--commands": {"kind": "lines", "path": absolute, "null": options.null, "separator": None, "comments": False},
        "--from": {"kind": "lines", "path": absolute, "null": options.null, "separator": options.colsep},
        "--csv": {"kind": "csv", "path": absolute}
        | {"delimiter": usual_delimiter(path) if options.delimiter is None else delimiter_of(options.delimiter)},
        "--jsonl": {"kind": "jsonl", "path": absolute, "names": list(work.fields), "whole": work.is_function},
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


def _folder(workdir: str | os.PathLike[str] | None) -> str:
    path = os.path.abspath(expanded(os.fspath(workdir or ".")))
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


def _stdin(path: str | os.PathLike[str] | None, stream: int | None) -> str | None:
    if path is None:
        return None
    if path == "-":
        if stream == 0:
            raise UsageError("--stdin -: standard input already gives the inputs")
        return "-"
    path = expanded(os.fspath(path))
    if not os.path.isfile(path):
        raise UsageError(f"--stdin {path}: no such file")
    return os.path.abspath(path)


def nothing_to_run(*, fail_if_empty: bool) -> int:
    """Say that there were no inputs; returns the exit status. Raises UsageError if that is to count as a failure."""
    if fail_if_empty:
        raise UsageError("no inputs: nothing to run")
    sys.stderr.write("manyhands: no inputs: nothing to run\n")
    return 0
