"""The options of a new run, for the tasks and for programs that call `run_batch`; those of existing runs are in `manyhands.options.runs`.

    Inputs, Console (of which a part is Execution), Commands --> CommandOptions   batch
    Inputs, Console (...), Programs ---------------------------> ScriptOptions    batch.script
    Called, Inputs, Console (...), Workers --------------------> FunctionOptions  batch.call
    Execution, Commands, Workers ------------------------------> RunOptions       run_batch (manyhands.api.run_options)

A class whose name ends with Options is what a task or a function takes; the others are its parts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from manyhands.options.choices import Column, Order, ResultKind, StartMethod
from manyhands.options.common import Json, Log, Picture, State
from manyhands.options.declaration import Options, option


class Grouping(Options):
    """How many inputs a job is given."""

    max_args: int | None = option(
        None,
        after="zip",
        help="give up to N inputs to each job: {} as a separate argument stands for all of them, {1} for the first; a function gets a list",
    )


class Inputs(Grouping):
    """Where inputs come from; ``rest``: what stands after ``--`` (None: there is no ``--``)."""

    from_: Sequence[str] = option(
        (),
        metavar="FILE",
        help="read inputs from this file, one a line (-: standard input, which is also the default unless it is a terminal); given more than once: every combination, or with --zip line by line; if the first line ends with CR LF, the CRs are dropped",
    )
    null: bool = option(False, short="0", help="inputs end with NUL instead of newline, as find -print0 writes them")
    glob: Sequence[str] = option(
        (),
        metavar="PATTERN",
        help="inputs are the paths that match; ** matches any depth, but does not follow links to folders; if nothing matches, a file of exactly this name; repeatable",
    )
    csv: str | None = option(
        None, metavar="FILE", help="inputs are the rows of this file, whose first line names the columns"
    )
    delimiter: str | None = option(
        None,
        metavar="CHAR",
        help="the character between the columns of --csv, or tab (default: tab for NAME.tsv, else a comma)",
    )
    jsonl: str | None = option(None, metavar="FILE", help="inputs are the values in this file, one a line")
    colsep: str | None = option(
        None, metavar="REGEX", help="split each line into columns {1} {2} ... where this regular expression matches"
    )
    each: Sequence[str] = option(
        (),
        metavar="NAME=A,B,C",
        help="NAME=A,B,C or A,B,C: inputs are these values; given more than once: every combination",
    )
    zip: bool = option(
        False,
        help="combine several sources line by line instead of every combination: job 1 gets the first input of each, job 2 the second; the sources must have the same length",
    )
    rest: Sequence[str] | None = None


class Surroundings(Options):
    """Where jobs run."""

    workdir: str | os.PathLike[str] | None = option(None, metavar="FOLDER", help="run the jobs in this folder")


class Variables(Options):
    """What is added to the environment of the jobs, as it is typed."""

    env: Sequence[str] = option(
        (), metavar="NAME=VALUE", after="workdir", help="set a variable in the environment of the jobs; repeatable"
    )


class Queued(Options):
    """For backends that put jobs into a queue, or give them to a cluster."""

    broker: str | None = option(
        None,
        metavar="URL",
        help="with --backend redis, celery or rq: let consumers (queue.work) do the jobs; the URL is redis://HOST:PORT/DB, rediss://... (TLS) or unix:///PATH; for celery also amqp://HOST:PORT/VHOST, amqps://...",
    )
    store: str | None = option(
        None,
        metavar="URL",
        needs="broker",
        help="with --backend celery or rq: the Redis server that keeps results, claims and leases; required with amqp://, else the broker",
    )
    broker_password_file: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        needs="broker",
        help="the broker's password is the first line of this file (default: $MH_BROKER_PASSWORD)",
    )
    cluster: str | None = option(
        None,
        metavar="WHERE",
        help="with --backend dask: the workers of this Dask cluster do the jobs: local (made here, the default), up (that of cluster.up), tcp://HOST:PORT, tls://HOST:PORT, ssh:HOST,HOST, slurm:JOBS, or a scheduler file",
    )
    insecure: bool = option(
        False,
        needs="broker cluster",
        help="allow a connection that is not encrypted to another machine (redis://HOST, amqp://HOST, tcp://HOST)",
    )
    lease: float | str = option(
        60.0,
        metavar="TIME",
        needs="broker cluster on on_each",
        help="hosts, consumers and workers stop the jobs of a batch that gives no sign of life for this time (default: 60)",
    )


class Execution(Surroundings, Grouping, Queued):
    """How a run is carried out: the same for commands and functions, on the command line and in a program."""

    jobs: int | str = option(
        "100%",
        short="j",
        metavar="N",
        help="number of jobs at once: N; 0: up to 1024; 50%: of the cores; +2 or -1: more or fewer than the cores; auto: as many as give the most throughput (default: 100%); with --then also A,B,...: one value for each stage",
    )
    timeout: float | str | None = option(
        None, metavar="TIME", help="stop a job after this time (30, 2m, or 300% of the median of finished jobs)"
    )
    grace: float | str = option(
        5.0, metavar="TIME", help="seconds between TERM and KILL when a job is stopped (default: 5)"
    )
    retries: int = option(0, help="retry a failed job up to N times (default: 0)")
    retry_on: str | int | type[BaseException] | Sequence[str | int | type[BaseException]] | None = option(
        None,
        metavar="WHAT",
        help="retry only after these failures, separated by commas: exit statuses (75, 1-9), timeout, lost, signal, SIGSEGV, exceptions of functions (ConnectionError); default: after every failure",
    )
    delay: float | str = option(0.0, metavar="TIME", help="wait at least so many seconds between two starts (default: 0)")
    backoff: float | str = option(
        1.0,
        metavar="TIME",
        needs="retries",
        help="seconds before the first retry, doubled for each further one; also "
        "TIME,growth=N,max=TIME,jitter=N% (default: 1, which is 1,growth=2,max=300,jitter=0%)",
    )
    halt: str = option(
        "never",
        metavar="WHEN",
        help="stop the batch early: WHEN,WHAT=N or N%, such as now,fail=1 or soon,success=50%; soon: start no more jobs; now: stop running jobs, too; WHAT: fail, success or done (default: never)",
    )
    order: Order = option(
        "input",
        help="start jobs in the order of the inputs, at random, or longest first, by their times in an earlier run of the same command",
    )
    then: Sequence[Any] = option(
        (),
        metavar="COMMAND",
        help="a further stage: run this for each input whose previous stage succeeded; a function gets what the previous one returned; repeatable",
    )
    output_cap: int | str | None = option(
        None,
        metavar="SIZE",
        after="env",
        help="keep at most SIZE bytes of each stream of a job (64k, 10M; default: all)",
    )
    nice: int = option(0, help="lower the jobs' priority by N (nice(1))")
    run_id: str | None = option(
        None,
        metavar="NAME",
        help="name the run; if a run of this name exists, continue it: run only the inputs that are not done yet",
    )
    retry_failed: bool = option(False, help="when the run of --run-id exists, retry its failed jobs, too")
    shard: str | None = option(
        None,
        metavar="K/N",
        help="do only part K of N of the inputs, as every machine divides them: by turns, or with --times so that all parts take about as long; auto: what GitLab or Azure says; all inputs are read first",
    )
    times: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        needs="shard",
        help="divide the inputs by how long they took in an earlier run: JSON lines of batch.export --format times",
    )
    fail_if_empty: bool = option(
        False, help="exit with status 2 when there are no inputs (default: 0, and a line that says so)"
    )
    keep: float | str = option(
        "90d", help="how long to keep unnamed runs in which every job succeeded: 30d, or forever (default: 90d)"
    )


class Console(Execution, Variables, Log, Json, State):
    """What a run on the command line has in addition."""

    keep_order: bool = option(
        True, short="k", after="order", help="print results in the order of the inputs (default), or as the jobs end"
    )
    tag: bool = option(False, after="then", help="begin every line of output with the input and a TAB")
    dry_run: bool = option(False, excludes=("json",), help="print what would be run and run nothing")
    spool_limit: int | str = option(
        "1G",
        metavar="SIZE",
        after="output_cap",
        help="store at most SIZE bytes of piped inputs; beyond that, read on only as jobs are done (default: 1G; 0: no limit)",
    )
    junit: str | None = option(
        None,
        metavar="FILE",
        after="keep",
        help="when the run ends, write its jobs to this file as JUnit XML, for CI systems",
    )
    quiet: bool = option(False, after="output", help="print nothing on standard error except what the jobs print there")


class Programs(Options):
    """What a job has if it is a program, not a function."""

    stdin: str | os.PathLike[str] | None = option(
        None,
        metavar="FILE",
        after="env",
        help="give every command this file as its standard input (-: what manyhands reads there; default: nothing)",
    )
    allow_daemons: bool = option(
        False, after="spool_limit", help="do not kill background processes that a command leaves running"
    )


class Commands(Programs):
    """What only commands have."""

    shell: bool = option(False, after="env", help="run the template in $SHELL (or bash); every input is quoted for it")
    warm: bool = option(
        False,
        after="allow_daemons",
        excludes=("on", "on_each"),
        help="if the template runs a Python script: import once what the script imports, and fork each job from that process, as batch.script does",
    )
    preload: str | None = option(
        None, metavar="A,B", needs="warm", help="import these modules, too, before the first job"
    )
    on: Sequence[str] = option(
        (),
        metavar="HOSTS",
        help="run the commands on these hosts, by ssh: HOST, HOST:SLOTS, USER@HOST, web[01-20], @FILE, separated by commas; the next job goes to a host with a free slot; --workdir is a folder on the hosts (default: home); repeatable",
    )
    on_each: Sequence[str] = option(
        (),
        metavar="HOSTS",
        excludes=("on",),
        help="run the command on every one of these hosts, written as for --on: once for each input, or just once if there are no inputs; {host} is the host's name; standard input is read only with --from -; repeatable",
    )
    send: Sequence[str] = option(
        (),
        metavar="PATH",
        needs="on on_each",
        help="before a job begins, copy this file to its host, to the same path below --workdir there; placeholders as in the command; repeatable",
    )
    fetch: Sequence[str] = option(
        (),
        metavar="PATH",
        needs="on on_each",
        help="when a job has succeeded, copy this file back, such as '{.}.webm', to the same path below this folder; repeatable",
    )
    cleanup: bool = option(
        False, needs="send fetch", help="remove the files of --send and --fetch on the host after the job"
    )
    ssh: str = option(
        "ssh", metavar="COMMAND", needs="on on_each", help="reach the hosts by this, such as 'ssh -i key' (default: ssh)"
    )


class Called(Options):
    """What is called, and with what."""

    function: str = option(
        positional=True,
        metavar="MODULE:FUNCTION",
        help="module:function or file.py:function, looked for in this folder, too",
    )
    jsonl: str | None = option(
        None,
        metavar="FILE",
        help="inputs are the JSON values in this file, one a line: an object gives the keyword arguments; any other value, also a list, is the only argument",
    )
    colsep: str | None = option(
        None, metavar="REGEX", help="split each line into several arguments where this regular expression matches"
    )
    type: Column = option(
        "str", after="max_args", help="convert each column of an input to this type for the function (default: str)"
    )
    result: ResultKind = option(
        "json",
        help="keep what the function returns as JSON (default), as its repr, not at all, or in a pickle file of the run",
    )


class Workers(Options):
    """What only functions have, in processes."""

    max_jobs_per_worker: int | None = option(None, after="initargs", help="replace a worker process after so many jobs")
    start_method: StartMethod = option("forkserver", help="how worker processes are made (default: forkserver)")


class CommandOptions(Inputs, Console, Commands):
    """What ``batch`` takes."""

    template: str | None = option(
        None,
        positional=True,
        help="the command; {} is the input, {.} {/} {//} {/.} parts of its path, {#} the job's number, {%} "
        "the slot's, {name} or {1} a column; no placeholder: the input is appended; {{ and }} are braces",
    )
    commands: str | None = option(
        None,
        metavar="FILE",
        help="each line of this file (-: standard input) is a whole command, split as a shell would split it, or with "
        "--shell run by a shell; empty lines and those that begin with # are left out",
    )
    backend: str = option(
        "commands",
        after="nice",
        help="how to run the jobs: commands; command-threads; redis, celery or rq (a queue); dask (a cluster); fake (for tests) (default: commands)",
    )


class ScriptOptions(Inputs, Console, Programs):
    """What ``batch.script`` takes."""

    script: str = option(
        positional=True,
        help="the Python script and its arguments, such as 'process.py --fast {}', with placeholders as for batch; no placeholder: the input is appended",
    )
    module: bool = option(False, short="m", help="run a module of this name instead, as python -m does")
    python: str | None = option(
        None,
        metavar="COMMAND",
        help="run the script with this interpreter and these options, such as 'python3.12 -O' (default: the interpreter in the script's first line, else python3)",
    )
    preload: str | None = option(None, metavar="A,B", help="import these modules, too, before the first job")


class FunctionOptions(Called, Inputs, Console, Workers):
    """What ``batch.call`` takes."""

    backend: str = option(
        "processes",
        after="nice",
        help="where to call the function: processes, threads, asyncio, gevent, interpreters, serial, auto; redis, celery or rq (a queue); dask (a cluster) (default: processes)",
    )
    chunk: str = option(
        "auto", help="send so many inputs to a worker in one message; auto (default): about 20 ms of work"
    )
    initializer: str | None = option(
        None, metavar="MODULE:FUNCTION", help="module:function to be called first in every worker process or thread"
    )
    initargs: str | None = option(None, metavar="JSON", help="the arguments of --initializer as a JSON list")
    no_journal: bool = option(
        False,
        after="start_method",
        excludes=("state_dir", "spool_limit"),
        help="keep no record: print the results and forget them; for very many, very small jobs",
    )


class CompareOptions(Inputs, Surroundings, Variables, Json, Picture):
    """What ``batch.compare`` takes."""

    work: str = option(positional=True, help="a command, as for batch, or module:function, as for batch.call")
    type: Column = option(
        "str", after="max_args", help="convert each column of an input to this type for a function (default: str)"
    )
    shell: bool = option(False, help="run each command in $SHELL (or bash)")
    sample: int = option(
        40, metavar="COUNT", help="take so many inputs, and run them on each backend and at each width (default: 40)"
    )
    timeout: str | None = option(None, metavar="TIME", help="stop a job after this time (30, 2m)")
