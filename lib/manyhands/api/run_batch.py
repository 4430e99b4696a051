"""The short form for programs: `run_batch` does all that the ``batch`` tasks do, and yields outcomes."""
# ruff: noqa: ARG001, B008 - the keywords of run_batch are collected, so that what it does reads `RunOptions`, which nobody can change

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyhands.api.results import Results
from manyhands.api.run_options import RunOptions, collected
from manyhands.core.arguments import argument_of, check_several
from manyhands.core.errors import UsageError
from manyhands.execution.staged import begin
from manyhands.inputs.program_inputs import source_of
from manyhands.inputs.reader_thread import Pulling, check_pulling
from manyhands.inputs.sources import Source
from manyhands.options.choices import Order, StartMethod
from manyhands.render.shown import Shown
from manyhands.runtime.main_guard import refuse_in_worker
from manyhands.storage.expiry import expire, parse_keep
from manyhands.storage.output import Printed, check_printed
from manyhands.storage.runs import Store, TemporaryStore, default_state_dir
from manyhands.work.function import AnyResult, Call, encode
from manyhands.work.planning import check_group, plan_of
from manyhands.work.template import Template, user_shell
from manyhands.work.work import Work
from manyhands.work.workers import Workers


@collected(RunOptions)
def run_batch(
    template: str | Sequence[str] | Template | Callable[..., Any] | Call,
    inputs: Source | Iterable[Any],
    *,
    jobs: int | str = "100%", timeout: float | str | None = None, grace: float | str = 5.0, retries: int = 0,
    delay: float | str = 0.0, backoff: float | str = 1.0, halt: str = "never", ordered: bool = False, then: Sequence[Any] = (), order: Order = "input",
    workdir: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None, shell: bool = False,
    stdin: str | os.PathLike[str] | None = None, output_cap: int | str | None = None, nice: int = 0,
    allow_daemons: bool = False, backend: str | None = None, result: AnyResult = "value",
    initializer: Callable[..., Any] | str | None = None, initargs: Sequence[Any] = (), chunk: int | None = None,
    max_jobs_per_worker: int | None = None, start_method: StartMethod = "forkserver", run_id: str | None = None,
    state_dir: str | os.PathLike[str] | None = None, pull: Pulling = "thread", handle_signals: bool = True,
    retry_failed: bool = False, retry_on: str | int | type[BaseException] | Sequence[str | int | type[BaseException]] | None = None,
    fail_if_empty: bool = False, max_args: int | None = None, check: bool = False, output: Printed | None = None, journal: bool = True,
    keep: float | str = "90d", progress: bool = False, options: RunOptions = RunOptions(),
) -> Results:  # fmt: skip
    """Run one command, or call one function, over many inputs; iterate the result for the final `Outcome` of each job.

    ``template``: of a command, a string is split into arguments as a shell would, a list is taken as it is; or a function.
    ``inputs`` of a command: text, bytes, paths, numbers; sequences of these (columns by position), mappings, named tuples and dataclasses (columns
    by name); of a function: a tuple gives its arguments, a dict its keyword arguments, anything else is the one argument. A source (`Lines`,
    `Glob`, ...) for either; an iterator is pulled lazily; none at all: no outcomes. ``ordered``: outcomes in the order of the inputs, else as they
    end. ``backend``: by default ``commands``, and ``processes`` for functions. ``then``: what is done with each input next, if that
    went well: further commands, or functions, which get what the one before returned; ``jobs`` and ``backend`` may then be ``"4,2"``.

    What a function returned is `Outcome.value`: the same value, of the same type, or with ``result`` "json" as JSON gives it back.
    `Outcome.value` of a job that did not end well raises `JobFailedError`, from what the function raised; with ``check`` the loop
    raises that at the first such job, and what runs is stopped. `Outcome.input` is the object that was given. What jobs print is in
    `Outcome.stdout` and `Outcome.stderr`; with ``output`` "pass", the default for functions, it is also printed here, "keep": not.
    ``progress``: how far it is, on stderr, while an outcome is waited for. Without ``journal`` nothing is kept of the run: it cannot be
    listed or resumed, nothing waits for the disk, and large output is in files without a name, as long as the outcome is there.
    ``retry_on``: the failures that are tried again, as exit statuses, classes of exceptions, and words such as ``"timeout"`` (see
    `RetryOn`). ``fail_if_empty``: no inputs are an error. ``max_args``: so many inputs (of one column) for each job, a command's ``{}`` stands for all of them, a function is given a list.
    `Template.each_line` makes each input a command. All other arguments mean what the options of ``batch`` and ``batch.call`` mean.
    All of them can be given as one object, ``options``, which serves many batches; those beside it are what is different.
    Nothing begins before the first outcome is asked for, or the ``with`` block is entered; leaving early stops what runs (see `Results`).

    Time-outs, retries and the journal depend on nobody's loop: the batch is carried out in a thread of its own, and while
    outcomes are not taken, only nothing more begins. An iterator of inputs is pulled in a thread, too; ``pull="caller"`` pulls it
    where the outcomes are iterated, for inputs that belong to that thread (database cursors, sessions). ``serial`` calls the
    function in the iterating thread.

    A script that calls functions in processes does so under ``if __name__ == "__main__":``, because every worker imports it.

    Raises UsageError for arguments that are invalid, CannotCreateError, JournalError. In the main thread, SIGINT, SIGTERM and
    SIGHUP end the batch in good order, and then do what they would have done, unless ``handle_signals`` is False or another
    program part (asyncio) has the wake-up descriptor.
    """
    check_pulling(options.pull)
    works, source = _works(template, inputs, options)
    is_call = works[0].is_function
    usual = "processes" if is_call else "commands"
    plan = plan_of(
        options, works, source.spec(), os.path.abspath(options.workdir or "."), backend=options.backend or usual, keep_order=options.ordered,
    )  # fmt: skip
    plan = replace(
        plan, environment=dict(options.env or {}), stdin=None if options.stdin is None else os.path.abspath(options.stdin),
        allow_daemons=options.allow_daemons,
        workers=Workers(start_method=options.start_method, chunk=options.chunk, max_jobs=options.max_jobs_per_worker),
    )  # fmt: skip
    store = _store(options)
    batch = begin(plan, store, run_id=options.run_id, source=source, retry_failed=options.retry_failed)
    return Results(
        batch, store, pull=options.pull, handle_signals=options.handle_signals, check=options.check,
        passing=options.output == "pass" if check_printed(options.output) else is_call,
        shown=Shown() if options.progress else None, fail_if_empty=options.fail_if_empty,
    )  # fmt: skip


def _listed(name: str, given: Iterable[Any], what: str) -> list[Any]:
    """Several of something. Raises WrongTypeError."""
    check_several(name, given, what)
    return list(given)


def _store(options: RunOptions) -> Store:
    """Where the runs are; those that have expired are removed, which is logged. Without a ``journal`` nothing is kept.

    Raises UsageError for what only a run that is kept can have.
    """
    if not options.journal:
        if options.run_id is not None or options.retry_failed or options.state_dir is not None:
            raise UsageError("journal=False: nothing is kept of the run, so it has no run_id, state_dir or retry_failed")
        return TemporaryStore()
    program = os.path.basename(sys.argv[0] if sys.argv else "") or "a program"
    root = Path(options.state_dir).absolute() if options.state_dir else default_state_dir(os.environ)
    store = Store(root, program=program)
    if said := expire(store, parse_keep(options.keep), time.time()):
        import logging  # which costs more than the look, and there is something to say once a day at most

        logging.getLogger("manyhands").info(said)
    return store


def _works(template: Any, inputs: Any, options: RunOptions) -> tuple[Sequence[Work], Source]:
    """(what is done with each input, and with what comes of it next; the inputs)."""
    check_several("initargs", options.initargs, "arguments")
    then = _listed("then", options.then, "commands or functions")
    group = options.max_args
    check_group(options)
    if isinstance(template, Call) or (callable(template) and not isinstance(template, Template)):
        work, source = _call(template, inputs, options)
        kind = "value" if options.result == "value" else "json"
        return [work, *(Call.of(one, type=kind, result=options.result) for one in then)], source
    _refuse_for_commands(
        result=options.result != "value", initializer=options.initializer, initargs=tuple(options.initargs)
    )
    further = [_template(one, options.shell, group) for one in then]
    return [_template(template, options.shell, group), *further], source_of(inputs)


def _call(given: Callable[..., Any] | Call, inputs: Any, options: RunOptions) -> tuple[Call, Source]:
    """A function and its inputs, encoded. Raises UsageError in a worker process that only imports the script."""
    refuse_in_worker()
    group = options.max_args
    if isinstance(given, Call):
        return replace(given, group=group), source_of(inputs)
    named = options.initializer if isinstance(options.initializer, str) else None
    call = Call.of(
        given, type="str" if hasattr(inputs, "spec") else "object", result=options.result, initializer=named,
        initargs=tuple(options.initargs), live_initializer=None if named else options.initializer, group=group,
    )  # fmt: skip
    return call, source_of(inputs, lambda item: (encode(item if group is None else (item,)),))


def _refuse_for_commands(**given: object) -> None:
    """Raise UsageError for arguments that only functions have."""
    if names := [name for name, value in given.items() if value]:
        raise UsageError(f"{', '.join(names)}: only for functions, and this is a command")


def _template(given: str | Sequence[str] | Template, shell: bool, group: int | None) -> Template:
    if isinstance(given, Template):
        if given.lines and group is not None:
            raise UsageError(f"max_args={group}: each input is a whole command")
        return replace(given, group=group)
    if isinstance(given, str):
        return replace(Template.parse(given, shell=user_shell(os.environ) if shell else None), group=group)
    check_several("template", given, "arguments")
    return replace(Template.from_args([os.fsdecode(argument_of(word)) for word in given]), group=group)
