"""The short form for programs: `run_batch` does all that the ``batch`` tasks do, and yields outcomes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack, overload

from manyhands.api.results import Results
from manyhands.api.run_options import RunOptions, collected
from manyhands.core.arguments import argument_of, check_several
from manyhands.core.errors import UsageError
from manyhands.core.records import replace
from manyhands.execution.begin import begin
from manyhands.inputs.program_inputs import source_of
from manyhands.inputs.reader_thread import check_pulling
from manyhands.inputs.sources import Source
from manyhands.render.program_progress import Shown
from manyhands.runtime.main_guard import refuse_in_worker
from manyhands.storage.expiry import expire, parse_keep
from manyhands.storage.output import check_printed
from manyhands.storage.runs import Store, default_state_dir
from manyhands.storage.temporary_runs import TemporaryStore
from manyhands.work.function import AnyResult, Call, encode
from manyhands.work.host_list import HostName, hosts_of
from manyhands.work.plan import Plan
from manyhands.work.planning import check_group, plan_of, with_files, works_on_each
from manyhands.work.python_command import warmed
from manyhands.work.queue_kinds import any_elsewhere
from manyhands.work.template import Template, user_shell
from manyhands.work.work import Work
from manyhands.work.worker_settings import Workers

if TYPE_CHECKING:
    from manyhands.api.keywords import BatchKeywords, CallKeywords

A = TypeVar("A")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Command = str | Sequence[str] | Template


@overload
def run_batch(
    work: Command,
    inputs: Source | Iterable[object],
    *,
    then: Sequence[Command] = ...,
    max_args: int | None = ...,
    on: Sequence[str] = ...,
    on_each: Sequence[str] = ...,
    send: Sequence[str] = ...,
    fetch: Sequence[str] = ...,
    cleanup: bool = ...,
    ssh: str = ...,
    **more: Unpack[BatchKeywords],
) -> Results[None]: ...
@overload
def run_batch(
    work: Command,
    inputs: None,
    *,
    on_each: Sequence[str],
    then: Sequence[Command] = ...,
    send: Sequence[str] = ...,
    fetch: Sequence[str] = ...,
    cleanup: bool = ...,
    ssh: str = ...,
    **more: Unpack[BatchKeywords],
) -> Results[None]: ...


# Of a function: an input from a program is the argument, a tuple the arguments, a mapping the keyword arguments; what a `Source`
# reads comes as text. An async function is awaited where it is called.
@overload
def run_batch(work: Callable[..., Awaitable[T]], inputs: Source, **more: Unpack[CallKeywords]) -> Results[T]: ...
@overload
def run_batch(work: Callable[..., T], inputs: Source, **more: Unpack[CallKeywords]) -> Results[T]: ...
@overload
def run_batch(work: Callable[[A], Awaitable[T]], inputs: Iterable[A], **more: Unpack[CallKeywords]) -> Results[T]: ...
@overload
def run_batch(work: Callable[[A], T], inputs: Iterable[A], **more: Unpack[CallKeywords]) -> Results[T]: ...
@overload
def run_batch(
    work: Callable[[*Ts], Awaitable[T]], inputs: Iterable[tuple[*Ts]], **more: Unpack[CallKeywords]
) -> Results[T]: ...
@overload
def run_batch(work: Callable[[*Ts], T], inputs: Iterable[tuple[*Ts]], **more: Unpack[CallKeywords]) -> Results[T]: ...
@overload
def run_batch(
    work: Callable[..., Awaitable[T]], inputs: Iterable[Mapping[str, Any]], **more: Unpack[CallKeywords]
) -> Results[T]: ...
@overload
def run_batch(
    work: Callable[..., T], inputs: Iterable[Mapping[str, Any]], **more: Unpack[CallKeywords]
) -> Results[T]: ...
@overload
def run_batch(
    work: Callable[[list[A]], T], inputs: Iterable[A], *, max_args: int, **more: Unpack[CallKeywords]
) -> Results[T]: ...
@overload
def run_batch(
    work: Callable[..., Any], inputs: Source | Iterable[Any], *, result: AnyResult, **more: Unpack[CallKeywords]
) -> Results[Any]: ...
@overload
def run_batch(
    work: Callable[..., Any],
    inputs: Source | Iterable[Any],
    *,
    then: Sequence[Callable[..., Any]],
    **more: Unpack[CallKeywords],
) -> Results[Any]: ...


@collected
def run_batch(
    work: str | Sequence[str] | Template | Callable[..., Any], inputs: Source | Iterable[Any] | None, options: RunOptions
) -> Results[Any]:
    """Run one command, or call one function, over many inputs; iterate the result for the `Outcome` of each job.

        for outcome in run_batch("gzip -9 -kf {}", paths, jobs=4, timeout=60, retries=2):
            print(outcome.input, outcome.status, outcome.stdout.text)

        async for outcome in run_batch(fetch, urls, backend="asyncio", jobs=100):
            print(outcome.value)

    ``work`` is a command or a function. A command is a text, split into arguments as a shell would, a list of arguments, which
    is taken as it is, or a `Template`; ``{}`` in it stands for the input. ``inputs`` of a command are text, bytes, paths, numbers;
    sequences of these (columns by position: ``{1}``), mappings, named tuples and dataclasses (columns by name: ``{host}``). For a
    function, a tuple is its arguments, a dict its keyword arguments, and anything else its only argument. An iterator is pulled lazily.
    ``inputs`` may also be a source, which can be read again: `Args`, `Rows`, `Lines`, `Csv`, `JsonLines`, `Glob`, `Product`, `Zip`.

    What a function returned is `Outcome.value`: the same value, of the same type. If the job did not end well, it raises
    `JobFailedError`, whose cause is what the function raised. `Outcome.input` is the object that was given.

    The keyword arguments can also be one object, ``options``, for many batches. A keyword beside it overrides it.

    How many, how long:

    - ``jobs``: how many at once: a number, "50%" or "+2" of the cores, 0 for up to 1024, "auto"; with ``then`` also "4,2".
    - ``timeout``: seconds for one attempt, or "2m", or "300%" of the median of the finished ones. ``grace``: from TERM to KILL.
    - ``retries``: how often a failed job is tried again. ``backoff``: the wait before a retry, seconds or "1,growth=2,max=1m,jitter=50%".
      ``retry_on``: only after such failures: exit statuses, classes of exceptions, "timeout", "lost", "signal" (see `RetryOn`).
    - ``halt``: when to end early, after failures or successes: "soon,fail=10%", "now,fail=1", "soon,success=5".
    - ``delay``: seconds between two starts. ``order``: in which order jobs begin: "input", "random", or "longest" first (by an earlier run).

    What is done:

    - ``then``: further stages, each for the inputs whose stage before succeeded: commands, or functions of what the one before returned.
    - ``max_args``: up to so many inputs for each job: ``{}`` stands for all of them, a function is given a list.
    - ``on``: the hosts that run a command, by ``ssh``: names that ssh knows, each perhaps with ``:SLOTS``; ``workdir`` is there.
      ``on_each``: every one of these hosts does each input, or the command alone if inputs are None; ``{host}`` is its name.
      ``send``, ``fetch``: paths of files that are copied to the host before a job, and back when it went well, as ``["{}"]`` and
      ``["{.}.webm"]``; ``cleanup``: remove them there afterwards.
    - ``backend``: "commands"; for functions "processes" (the default), "threads", "asyncio", "gevent", "interpreters", "serial", "auto";
      for both "redis", "celery" or "rq", with ``broker``, its address: consumers (``queue.work``) do the jobs. ``store``: the Redis
      server beside the broker. ``broker_password_file``: how it is reached.
      And "dask", with ``cluster``: "local", "up", the address of a scheduler, "ssh:HOST,HOST", "slurm:JOBS", a scheduler file, or a
      ``distributed.Client``. ``insecure``: allow connections that are not encrypted. ``lease``: seconds without a sign of life of this
      program after which consumers, workers and hosts end its jobs.
    - ``workdir``, ``env``, ``nice``, ``stdin``: the folder of the jobs, more variables, their niceness, their standard input.
      ``shell``: a command is a script for the user's shell.
    - ``initializer``, ``initargs``, ``start_method``, ``chunk``, ``max_jobs_per_worker``: settings of the workers that call functions.
    - ``warm``: if the command runs a Python script, import once what the script imports, and fork each job from that process.
      ``preload``: "a,b", further modules to import.
    - ``allow_daemons``: do not kill background processes that a job leaves running.

    What comes back:

    - ``ordered``: outcomes in the order of the inputs, else as they end.
    - ``check``: raise the `JobFailedError` of the first job that is not ok, and stop the others.
    - ``result``: what is kept of what a function returns: "value", "json", "repr", "none", "pickle-file".
    - ``output``: what jobs print is kept in the outcome's ``stdout`` and ``stderr``. "pass", the default for functions, also prints it here;
      "keep" does not. ``output_cap``: the most bytes of it that are kept, such as "1M".
    - ``fail_if_empty``: raise an error if there are no inputs. ``progress``: show the progress on stderr while you wait for an outcome.

    The run on disk:

    - ``run_id``: its name. If that run exists, it is continued: only new inputs run, and with ``retry_failed`` also the failed jobs.
    - ``shard``: "2/4", do only that part of the inputs, as every machine divides them; all inputs are read first, also those of an
      iterator. ``times``: the file of recorded times by which they are divided.
    - ``state_dir``: where runs are. ``keep``: how long a run without a name is kept if all its jobs are ok: "30d", "forever".
    - ``journal``: if False, nothing is kept, so that the run cannot be resumed, and nothing waits for the disk.

    This program:

    - ``pull``: with "caller" the iterator of inputs is pulled in the thread that iterates the outcomes, as database cursors and sessions
      need it; by default in a thread of its own.
    - ``handle_signals``: in the main thread, SIGINT, SIGTERM and SIGHUP first stop and record its jobs, then have their usual effect;
      not if another part of the program, such as asyncio, has called ``signal.set_wakeup_fd``.

    The batch begins with the first outcome that you ask for, or with a ``with`` block; leaving early stops the jobs that run (see `Results`).
    It has a thread of its own: time-outs, retries and the journal do not wait for your loop. While you take no outcomes, running jobs
    go on, and no new ones begin. ``serial`` calls the function in the iterating thread. A script that calls functions in processes has
    to do so under ``if __name__ == "__main__":``, because every worker imports it.

    Raises UsageError for arguments that are invalid, CannotCreateError, JournalError.
    """
    check_pulling(options.pull)
    works, source = _works(work, inputs, options)
    is_call = works[0].is_function
    on = _hosts(options, is_call=is_call)
    backend = options.backend or ("processes" if is_call else "commands")
    path = os.fspath if on or any_elsewhere(backend) else os.path.abspath
    plan = plan_of(
        options,
        works,
        source.spec(),
        path(options.workdir or "."),
        backend=backend,
        keep_order=options.ordered,
        on=on,
        on_each=bool(options.on_each),
    )
    plan = replace(
        plan,
        environment=dict(options.env or {}),
        stdin=None if options.stdin is None else path(options.stdin),
        ssh=options.ssh,
        allow_daemons=options.allow_daemons,
        workers=Workers(start_method=options.start_method, chunk=options.chunk, max_jobs=options.max_jobs_per_worker),
    )
    plan, source = _part(with_files(plan, options), source, options)
    store = _store(options)
    batch = begin(plan, store, run_id=options.run_id, source=source, retry_failed=options.retry_failed)
    return Results(
        batch,
        store,
        pull=options.pull,
        handle_signals=options.handle_signals,
        check=options.check,
        passing=options.output == "pass" if check_printed(options.output) else is_call,
        shown=Shown() if options.progress else None,
        fail_if_empty=options.fail_if_empty,
    )


def _part(plan: Plan, source: Source, options: RunOptions) -> tuple[Plan, Source]:
    """The plan and the inputs of the part that is wanted, if it is not all. Raises UsageError."""
    if options.shard is None and options.times is None:
        return plan, source
    from manyhands.execution.sharding import asked_for, shared  # here: most batches do all

    return shared(plan, asked_for(options, os.environ), options.times, source=source)


def _hosts(options: RunOptions, *, is_call: bool) -> tuple[HostName, ...]:
    """The hosts that run the commands, if they are others than this one. Raises UsageError."""
    for name in ("on", "on_each"):
        check_several(name, getattr(options, name), "hosts")
    for name in ("send", "fetch"):
        check_several(name, getattr(options, name), "paths")
    given = {"on": options.on, "on_each": options.on_each}
    named = [name for name, hosts in given.items() if hosts]
    if named and is_call:
        raise UsageError(f"{named[0]}: only for commands, and this is a function")
    if len(named) > 1:
        raise UsageError("on_each has no effect with on")
    return hosts_of(given[named[0]], f"--{named[0].replace('_', '-')}") if named else ()


def _listed(name: str, given: Iterable[Any], what: str) -> list[Any]:
    """A list of what was given. Raises WrongTypeError if that is one text or no iterable."""
    check_several(name, given, what)
    return list(given)


def _store(options: RunOptions) -> Store:
    """Where the runs are; those that have expired are removed, which is logged. Without a ``journal`` nothing is kept.

    Raises UsageError for arguments that need a journal.
    """
    if not options.journal:
        if options.run_id is not None or options.retry_failed or options.state_dir is not None:
            raise UsageError("journal=False: nothing is kept of the run, so it has no run_id, state_dir or retry_failed")
        return TemporaryStore()
    program = os.path.basename(sys.argv[0] if sys.argv else "") or "a program"
    root = Path(options.state_dir).absolute() if options.state_dir else default_state_dir(os.environ)
    store = Store(root, program=program)
    if said := expire(store, parse_keep(options.keep), time.time()):
        import logging  # imported late: it is slow, and needed once a day at most

        logging.getLogger("manyhands").info(said)
    return store


def _works(template: Any, inputs: Any, options: RunOptions) -> tuple[Sequence[Work], Source]:
    """(the work of each stage, the inputs)."""
    check_several("initargs", options.initargs, "arguments")
    then = _listed("then", options.then, "commands or functions")
    group = options.max_args
    check_group(options)
    if options.preload is not None and not options.warm:
        raise UsageError("preload has no effect without warm")
    if isinstance(template, Call) or (callable(template) and not isinstance(template, Template)):
        if options.warm:
            raise UsageError("warm=True: only for commands, and this is a function")
        work, source = _call(template, inputs, options)
        kind = "value" if options.result == "value" else "json"
        return [work, *(Call.of(one, type=kind, result=options.result) for one in then)], source
    _refuse_for_commands(
        result=options.result != "value", initializer=options.initializer, initargs=tuple(options.initargs)
    )
    works = [_template(one, options.shell, group) for one in (template, *then)]
    if options.warm:
        if options.on or options.on_each:
            raise UsageError("warm has no effect with on and on_each: it is for jobs on this machine")
        search = (options.env or {}).get("PATH") or os.environ.get("PATH", os.defpath)
        works = [*warmed(works, options.preload, os.path.abspath(options.workdir or "."), os.fsencode(search))]
    return _on_each(works, inputs, options) if options.on_each else (works, source_of(inputs))


def _on_each(works: Sequence[Work], inputs: Any, options: RunOptions) -> tuple[Sequence[Work], Source]:
    """The same for inputs of which each is done on every host."""
    from manyhands.inputs.each_host import hosts_alone, on_each  # here: most batches need none of it

    check_several("on_each", options.on_each, "hosts")
    if options.max_args is not None:
        raise UsageError("max_args has no effect with on_each: a job has one input there")
    names = [one.name for one in hosts_of(options.on_each, "--on-each")]
    return works_on_each(works), hosts_alone(names) if inputs is None else on_each(source_of(inputs), names)


def _call(given: Callable[..., Any] | Call, inputs: Any, options: RunOptions) -> tuple[Call, Source]:
    """A function and its inputs, encoded. Raises UsageError in a worker process that only imports the script."""
    refuse_in_worker()
    group = options.max_args
    if isinstance(given, Call):
        return replace(given, group=group), source_of(inputs)
    named = options.initializer if isinstance(options.initializer, str) else None
    call = Call.of(
        given,
        type="str" if hasattr(inputs, "spec") else "object",
        result=options.result,
        initializer=named,
        initargs=tuple(options.initargs),
        live_initializer=None if named else options.initializer,
        group=group,
    )
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
