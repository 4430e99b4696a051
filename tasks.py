"""Run one command, or call one Python function, over many inputs, with as many hands as the machine has; never lose track of one.

    manyhands batch 'gzip -9 -kf {}' --glob '*.log'
    find . -name '*.png' -print0 | manyhands batch 'optipng {}' --null --timeout 60
    manyhands batch.call images:thumbnail --glob '*.png' -j 4
    manyhands batch.resume
    manyhands proc.stop --port 8080

That is what ``invoke -l`` and ``manyhands`` begin with. Every task is here: thin, typed, and named in the table at the bottom. What
they do is in ``lib/manyhands``; what is imported inside a task is what would slow down ``invoke -l``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import Literal

from invoke import Collection, Context

if (Path(__file__).parent / "lib" / "manyhands").is_dir():  # a checkout, perhaps one that is not installed
    sys.path.insert(0, str(Path(__file__).parent / "lib"))

from manyhands.cli import task
from manyhands.cli.runner import Utf8Local
from manyhands.cli.scenes import scene_tasks

# -- batch ---------------------------------------------------------------------------------------------------------------

STATE = {"state_dir": "where runs are kept (default: $XDG_STATE_HOME/manyhands, ~/.local/state/manyhands)"}
JSON = {"json": "JSON lines instead of text"}
AGAIN = {
    "run": "the run: its id or the beginning of it (default: the newest that a command has made, not a program by the library)",
    "jobs": "how many at once, if not as before",
    "quiet": "nothing on standard error but what the jobs print there",
    **STATE, **JSON,
}  # fmt: skip


INPUTS = {
    "from": "read inputs from this file, one a line; repeated: every combination, or --zip (-: standard input, also the default when it is no terminal); if the first "
    "line ends with CR LF, the CRs are left out",
    "null": "inputs end with NUL instead of newline, as find -print0 writes them",
    "glob": "inputs are the paths that match, ** for any depth, but not through links to folders; a file of just this name if none "
    "matches; repeatable",
    "csv": "inputs are the rows of this file, whose first line names the columns",
    "delimiter": "what divides the columns of --csv: one character, or tab (default: tab for a name.tsv, else ,)",
    "jsonl": "inputs are the values in this file, one a line",
    "colsep": "split each line into columns {1} {2} ... where this regular expression matches",
    "each": "NAME=A,B,C or A,B,C: these values; repeated: every combination",
    "zip": "link several sources (--each or --from more than once, or different ones): the first input of each together, then the "
    "second of each; they must be equally long",
    "max_args": "give so many inputs to one job: {} as an argument of its own stands for all of them, {1} for the first; a function is "
    "given a list",
}
CARRYING_OUT = {
    "jobs": "how many at once: N, 0 (up to 1024), 50%, +2, -1 of the cores (default: 100%), or auto; with --then A,B,...",
    "timeout": "stop a job after this time (30, 2m, or 300% of the median of finished jobs)",
    "grace": "seconds between TERM and KILL when a job is stopped (default: 5)",
    "retries": "try a failed job so many times more (default: 0)",
    "delay": "seconds between two starts at least",
    "retry_on": "try again only after these, with commas: exit statuses (75, 1-9), timeout, lost, signal, SIGSEGV, and exceptions of "
    "functions (ConnectionError); default: after every failure",
    "backoff": "seconds before the first retry, doubled for each further one; also TIME,growth=N,max=TIME,jitter=N% (default: 1, "
    "which is 1,growth=2,max=300,jitter=0%)",
    "halt": "never, or soon or now, then ,fail= ,success= or ,done= and N or N% (default: never)",
    "order": "begin jobs in the order of the inputs, or at random, or those first that took longest in an earlier run of the same",
    "keep_order": "give results in the order of the inputs (default), or as they come",
    "then": "do this with each input next, if that went well; functions get what the one before returned; repeatable",
    "tag": "begin every line of output with the input and a TAB",
    "dry_run": "print what would be run and run nothing",
    "workdir": "run the jobs in this folder",
    "env": "NAME=VALUE in the environment of the jobs; repeatable",
    "output_cap": "keep so many bytes of each stream of a job (64k, 10M; default: all)",
    "nice": "lower the jobs' priority by so much (nice(1))",
    "spool_limit": "keep so many bytes of piped inputs, then let the pipe wait for its jobs (default: 1G; 0: no limit)",
    "run_id": "name the run; if it exists, it is continued: only inputs that it has not done are run",
    "fail_if_empty": "exit with status 2 when there are no inputs (default: 0, and a line that says so)",
    "retry_failed": "when the run exists, try again what failed in it, too",
    "keep": "remove runs without a name that ended well so long ago, such as 30d, or forever (default: 90d)",
    "quiet": "nothing on standard error but what the jobs print there",
    **STATE, **JSON,
}  # fmt: skip


@task(
    remainder=True,
    name="run",
    default=True,
    lacking=["template"],
    needs={"backoff": "retries"},
    without={"json": "dry_run"},
    short={"jobs": "j", "keep_order": "k", "null": "0"},
    help={
        "template": "the command; {} is the input, {.} {/} {//} {/.} parts of its path, {#} the job's number, {%} the slot's, "
        "{name} or {1} a column; no placeholder: the input is appended; {{ and }} are braces",
        "commands": "each line of this file is a whole command (-: standard input), split as a shell would, or with --shell run by "
        "it; empty lines and those that begin with # are left out",
        "shell": "the template is a line for $SHELL (or bash); every input is quoted for it",
        "stdin": "a file that every command reads as its standard input (-: ours); default: nothing",
        "allow_daemons": "let live what a command leaves behind in the background",
        "backend": "how to run them: commands, command-threads or fake (default: commands)",
        **INPUTS, **CARRYING_OUT,
    },
)  # fmt: skip
def batch(
    _ctx: Context, template: str | None = None, commands: str | None = None, from_: list[str] = [], null: bool = False, glob: list[str] = [],  # noqa: B006
    csv: str | None = None, delimiter: str | None = None, jsonl: str | None = None, colsep: str | None = None,
    each: list[str] = [], zip: bool = False, max_args: int | None = None,  # noqa: B006
    jobs: str = "100%", timeout: str | None = None, grace: str = "5", retries: int = 0, retry_on: str | None = None,
    delay: str = "0", backoff: str = "1", halt: str = "never", order: Literal["input", "random", "longest"] = "input",
    keep_order: bool = True, then: list[str] = [], tag: bool = False, dry_run: bool = False, workdir: str | None = None,  # noqa: B006
    env: list[str] = [],  # noqa: B006
    shell: bool = False, stdin: str | None = None, output_cap: str | None = None, spool_limit: str = "1G",
    allow_daemons: bool = False, nice: int = 0,
    backend: str = "commands", run_id: str | None = None, retry_failed: bool = False, fail_if_empty: bool = False, keep: str = "90d", quiet: bool = False,
    json: bool = False, state_dir: str | None = None,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Run one command over many inputs, which come after --, from options, or from standard input.

    manyhands batch 'gzip -9 -kf {}' --glob 'logs/**/*.log' -j 4
    manyhands batch 'ping -c1 {host}' --csv hosts.csv --timeout 10 --retries 2
    manyhands batch 'sort {} | uniq -c > {.}.counts' --shell -- *.txt
    """
    options = {name: value for name, value in locals().items() if name != "_ctx"}
    from manyhands.handlers import batch as door
    from manyhands.handlers import batch_options

    return door.new(batch_options.AskedCommand(**options))


@task(
    remainder=True,
    name="call",
    needs={"backoff": "retries"},
    without={"json": "dry_run", "state_dir": "no_journal", "spool_limit": "no_journal"},
    short={"jobs": "j", "keep_order": "k", "null": "0"},
    help={
        "function": "module:function or file.py:function, looked for in this folder, too",
        **INPUTS, **CARRYING_OUT,
        "jsonl": "inputs are the JSON values in this file, one a line: an object gives the keyword arguments, anything else, a "
        "list, too, is the one argument",
        "colsep": "split each line into several arguments where this regular expression matches",
        "type": "what each column of an input is given to the function as (default: str)",
        "result": "keep what it returns as JSON (default), as its repr, not at all, or in a pickle file of the run",
        "backend": "where to call it: processes, threads, asyncio, gevent, interpreters, serial, or auto (default: processes)",
        "chunk": "hand so many inputs to a worker at once; auto (default): about 20 ms of work",
        "initializer": "module:function to be called first in every worker process or thread",
        "initargs": "a JSON list of its arguments",
        "max_jobs_per_worker": "replace a worker process after so many jobs",
        "start_method": "how worker processes are made (default: forkserver)",
        "no_journal": "keep no record: print the results and forget them; for very many very small jobs",
    },
)  # fmt: skip
def call_function(
    _ctx: Context, function: str, from_: list[str] = [], null: bool = False, glob: list[str] = [],  # noqa: B006
    csv: str | None = None, delimiter: str | None = None, jsonl: str | None = None, colsep: str | None = None,
    each: list[str] = [], zip: bool = False, max_args: int | None = None,  # noqa: B006
    type: Literal["str", "int", "float", "json", "path", "bytes"] = "str",
    result: Literal["json", "repr", "none", "pickle-file"] = "json", jobs: str = "100%", timeout: str | None = None,
    grace: str = "5", retries: int = 0, retry_on: str | None = None, delay: str = "0", backoff: str = "1", halt: str = "never",
    order: Literal["input", "random", "longest"] = "input", keep_order: bool = True, then: list[str] = [], tag: bool = False,  # noqa: B006
    dry_run: bool = False, workdir: str | None = None, env: list[str] = [], output_cap: str | None = None, spool_limit: str = "1G",  # noqa: B006
    nice: int = 0, backend: str = "processes", chunk: str = "auto", initializer: str | None = None,
    initargs: str | None = None, max_jobs_per_worker: int | None = None,
    start_method: Literal["forkserver", "spawn"] = "forkserver", no_journal: bool = False, run_id: str | None = None,
    retry_failed: bool = False, fail_if_empty: bool = False, keep: str = "90d", quiet: bool = False, json: bool = False, state_dir: str | None = None,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Call one Python function for many inputs, in processes, threads or an event loop; print what it returns as JSON.

    manyhands batch.call images:thumbnail --glob 'photos/*.png' -j 4 --timeout 30
    manyhands batch.call primes.py:is_prime --from numbers.txt --type int
    """
    options = {name: value for name, value in locals().items() if name != "_ctx"}
    from manyhands.handlers import batch as door
    from manyhands.handlers import batch_options

    return door.new(batch_options.AskedCall(**options))


@task(
    remainder=True,
    name="compare",
    short={"null": "0"},
    help={
        "work": "a command, as for batch, or module:function, as for batch.call",
        **INPUTS,
        "type": "what each column of an input is given to a function as (default: str)",
        "shell": "a command is a line for $SHELL (or bash)",
        "sample": "so many inputs, which are done again on each backend and at each width (default: 40)",
        "timeout": "stop a job after this time (30, 2m)",
        "workdir": "run the jobs in this folder",
        "env": "NAME=VALUE in the environment of the jobs; repeatable",
        "plot": "draw the speed-up, too, in this .html, .svg or .png file",
        **JSON,
    },
)  # fmt: skip
def compare_backends(
    _ctx: Context, work: str, from_: list[str] = [], null: bool = False, glob: list[str] = [],  # noqa: B006
    csv: str | None = None, delimiter: str | None = None, jsonl: str | None = None, colsep: str | None = None,
    each: list[str] = [], zip: bool = False, max_args: int | None = None,  # noqa: B006
    type: Literal["str", "int", "float", "json", "path", "bytes"] = "str", shell: bool = False, sample: int = 40,
    timeout: str | None = None, workdir: str | None = None, env: list[str] = [], plot: str | None = None,  # noqa: B006
    json: bool = False,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Run a sample on each backend, at several widths, and say which to choose.

    manyhands batch.compare images:thumbnail --glob 'photos/*.png' --sample 40
    """
    options = {name: value for name, value in locals().items() if name not in ("_ctx", "work", "sample", "plot", "json")}
    from manyhands.handlers import batch_compare as door

    return door.compare_backends(work, options, sample=sample, plot_to=plot, json=json)


@task(lacking=["run"], short={"jobs": "j"}, help=AGAIN)
def resume(
    _ctx: Context, run: str | None = None, jobs: str | None = None, quiet: bool = False, json: bool = False,
    state_dir: str | None = None,
) -> int:  # fmt: skip
    """Do what is left of a run that was killed, stopped or halted.

    manyhands batch.resume nightly --jobs 2
    """
    from manyhands.handlers import batch as door

    return door.again("rest", run, jobs=jobs, quiet=quiet, json=json, state_dir=state_dir)


@task(lacking=["run"], short={"jobs": "j"}, help=AGAIN)
def retry(
    _ctx: Context, run: str | None = None, jobs: str | None = None, quiet: bool = False, json: bool = False,
    state_dir: str | None = None,
) -> int:  # fmt: skip
    """Do again what failed in a run.

    manyhands batch.retry nightly
    """
    from manyhands.handlers import batch as door

    return door.again("failed", run, jobs=jobs, quiet=quiet, json=json, state_dir=state_dir)


@task(
    name="list",
    help={
        "limit": "so many runs at most, the newest",
        "status": "only runs that are in this state; failed: those in which a job has failed",
        "since": "only runs made since then: how long ago (2d, 12h), or a date (2026-11-20)",
        "name": "only runs whose name or id matches this pattern ('nightly*')",
        **STATE, **JSON,
    },
)  # fmt: skip
def list_(
    _ctx: Context, limit: int | None = None,
    status: Literal["running", "complete", "left", "failed", "damaged"] | None = None,
    since: str | None = None, name: str | None = None, json: bool = False, state_dir: str | None = None,
) -> None:  # fmt: skip
    """List the runs, newest first: id or name, when, ok, failed, left, how long, size on disk, state, what."""
    from manyhands.handlers import batch as door
    from manyhands.handlers.batch_list import Wanted

    door.list_runs(Wanted(limit, status, since, name), json=json, state_dir=state_dir)


@task(
    without={"failed": "job"},
    lacking=["run"],
    help={
        "run": "the run: its id or the beginning of it (default: the newest)",
        "job": "this job in full, with the end of its output",
        "failed": "only what failed, timed out or was lost",
        "output": "with what the jobs printed",
        **STATE, **JSON,
    },
)  # fmt: skip
def show(
    _ctx: Context, run: str | None = None, job: int | None = None, failed: bool = False, output: bool = False,
    json: bool = False, state_dir: str | None = None,
) -> None:  # fmt: skip
    """Show a run and its jobs.

    manyhands batch.show nightly --failed --output
    manyhands batch.show nightly --job 13
    """
    from manyhands.handlers import batch as door

    door.show(run, job=job, failed=failed, output=output, json=json, state_dir=state_dir)


@task(
    lacking=["run"],
    help={
        "run": "the run: its id or the beginning of it (default: the newest)",
        "format": "jsonl: all that is known; csv: the same as a table, texts like =1+1 with an apostrophe before them; joblog: as GNU parallel writes it",
        **STATE,
    },
)  # fmt: skip
def export(
    _ctx: Context, run: str | None = None, format: Literal["jsonl", "csv", "joblog"] = "jsonl",
    state_dir: str | None = None,
) -> None:  # fmt: skip
    """Write a run's jobs to standard output, for other programs.

    manyhands batch.export nightly --format csv > nightly.csv
    """
    from manyhands.handlers import batch as door

    door.export_run(run, format, state_dir=state_dir)


@task(
    lacking=["runs"], short={"yes": "y", "dry_run": "n"},
    help={
        "runs": "the runs: their ids or the beginnings of them",
        "older_than": "every run older than this: 90s, 12h, 30d (1m is a minute)",
        "dry_run": "show what would be removed and how much it holds, and remove nothing",
        "yes": "do not ask (without a terminal it is needed)",
        **STATE,
    },
)  # fmt: skip
def remove(
    _ctx: Context, runs: list[str] = [], older_than: str | None = None, dry_run: bool = False, yes: bool = False,  # noqa: B006
    state_dir: str | None = None,
) -> int:  # fmt: skip
    """Delete runs and their output, or all old ones, after showing them and asking."""
    from manyhands.handlers import batch as door

    return door.remove(runs, older_than=older_than, dry_run=dry_run, yes=yes, state_dir=state_dir)


# -- commands ------------------------------------------------------------------------------------------------------------

LIMITS = {
    "timeout": "stop it, and all that it has started, after this time (30, 2m)",
    "grace": "seconds between TERM and KILL when it is stopped (default: 5)",
}
COMMAND = {"command": "the program and its arguments in one text, split at blanks outside quotes; or as words after --"}
LINE = {
    "line": "programs and their arguments, with | |& < > >> 2> 2>&1, quotes and wildcards, run without a shell",
}
SHELL = {"shell": "the text is a line for $SHELL (or bash)"}


@task(help={"line": "a line for $SHELL (or bash)", **LIMITS, **JSON})
def output(_ctx: Context, line: str, timeout: str | None = None, grace: str = "5", json: bool = False) -> int:
    """Print what a shell line prints, stdout and stderr together; exit with its status.

    manyhands cmd.output 'ls /tmp | wc -l'
    """
    from manyhands.handlers import cmd

    return cmd.show_output(line, timeout=timeout, grace=grace, json=json)


@task(help={"line": "a line for $SHELL (or bash)", **LIMITS, **JSON})
def status(_ctx: Context, line: str, timeout: str | None = None, grace: str = "5", json: bool = False) -> int:
    """Print the exit status of a shell line, then what it printed; exit with 0.

    manyhands cmd.status 'grep root /etc/passwd'
    """
    from manyhands.handlers import cmd

    return cmd.show_status(line, timeout=timeout, grace=grace, json=json)


@task(remainder=True, name="check", lacking=["command"], help={**COMMAND, **SHELL, **LIMITS, **JSON})
def check_output(
    _ctx: Context, command: str | None = None, shell: bool = False, timeout: str | None = None, grace: str = "5", json: bool = False,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Print the stdout of a command, byte for byte, without a shell unless --shell; fail as it fails.

    manyhands cmd.check 'date -u'
    manyhands cmd.check --timeout 10m -- rsync -a src/ backup/
    """
    from manyhands.handlers import cmd

    return cmd.check(command, rest, shell=shell, timeout=timeout, grace=grace, json=json)


@task(
    remainder=True,
    lacking=["command"],
    help={**COMMAND, **SHELL, "silent": "what it prints goes nowhere", **LIMITS,
          "json": "say how it ended as a JSON line on stdout; what it prints goes to stderr"},
)  # fmt: skip
def call(
    _ctx: Context, command: str | None = None, shell: bool = False, silent: bool = False, timeout: str | None = None,
    grace: str = "5", json: bool = False,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Let a command have the terminal, and exit with its status.

    manyhands cmd.call 'vi notes.txt'
    """
    from manyhands.handlers import cmd

    return cmd.call(command, rest, shell=shell, silent=silent, timeout=timeout, grace=grace, json=json)


@task(help={"line": "a line for /bin/sh", **LIMITS, "json": "say how it ended as a JSON line, after what it prints"})
def system(_ctx: Context, line: str, timeout: str | None = None, grace: str = "5", json: bool = False) -> int:
    """Run a shell line by os.system, and exit with its status, decoded.

    manyhands cmd.system 'echo $HOME'
    """
    from manyhands.handlers import cmd

    return cmd.call_system(line, timeout=timeout, grace=grace, json=json)


@task(
    without={"verbose": "json"},
    short={"verbose": "v"},
    help={
        **LINE, **SHELL,
        "tee": "STAGE=FILE: what this stage (from 1) writes also goes to a file; repeatable",
        "stdin": "a file that the first stage reads (default: our standard input)",
        "verbose": "say how every stage ended, also when all is well",
        **LIMITS, "json": "one JSON line: what the last stage wrote, and how every stage ended",
    },
)  # fmt: skip
def pipe(
    _ctx: Context, line: str, tee: list[str] = [], stdin: str | None = None, shell: bool = False, verbose: bool = False,  # noqa: B006
    timeout: str | None = None, grace: str = "5", json: bool = False,
) -> int:  # fmt: skip
    """Run 'ls -l | wc' as a chain of processes without a shell; fail when any stage fails.

    manyhands pipe 'cut -d" " -f1 access.log | sort | uniq -c'
    manyhands pipe 'ls -l | wc' --tee 1=listing.txt --verbose
    """
    from manyhands.handlers import cmd

    return cmd.run_pipe(line, tee=tee, stdin=stdin, shell=shell, verbose=verbose, timeout=timeout, grace=grace, json=json)


@task(
    remainder=True,
    lacking=["command"],
    help={
        **COMMAND,
        **SHELL,
        "text": "the input",
        "file": "the file that is the input (-: our standard input)",
        **LIMITS,
        **JSON,
    },
)
def feed(
    _ctx: Context, command: str | None = None, shell: bool = False, text: str | None = None, file: str | None = None, timeout: str | None = None,
    grace: str = "5", json: bool = False,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Give a command its input, and print what it makes of it.

    manyhands cmd.feed 'tr a-z A-Z' --text hello
    """
    from manyhands.handlers import cmd

    return cmd.feed(command, rest, shell=shell, text=text, file=file, timeout=timeout, grace=grace, json=json)


@task(
    remainder=True,
    lacking=["command"],
    help={
        **COMMAND, **SHELL,
        "expect": "a regular expression for a prompt; repeatable",
        "reply": "what to type there, before Enter; one for each --expect",
        "pty": "on a terminal of its own, for programs that ask only there",
        **LIMITS, "timeout": "stop it after this time, and say what was not answered (default: 60)", **JSON,
    },
)  # fmt: skip
def answer(
    _ctx: Context, command: str | None = None, shell: bool = False, expect: list[str] = [], reply: list[str] = [], pty: bool = False,  # noqa: B006
    timeout: str = "60", grace: str = "5", json: bool = False,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Answer the prompts of a program.

    manyhands cmd.answer ./install.sh --expect 'Continue[?]' --reply y --pty
    """
    from manyhands.handlers import cmd

    return cmd.converse(
        command, rest, shell=shell, expect=expect, reply=reply, pty=pty, timeout=timeout, grace=grace, json=json
    )


@task(
    remainder=True,
    lacking=["line"],
    short={"every": "n"},
    help={
        **LINE, **SHELL,
        "every": "seconds from one start to the next (default: 2)",
        "until_change": "end when its output is not what it was at first",
        "until_success": "end when its status is 0",
        "until": "end when its output matches this regular expression",
        "times": "look so many times at most",
        **LIMITS, "timeout": "give up after this time altogether, with exit status 124", "json": "one JSON line for each look",
    },
)  # fmt: skip
def watch(
    _ctx: Context, line: str | None = None, every: str = "2", until_change: bool = False, until_success: bool = False,
    until: str | None = None, times: int | None = None, shell: bool = False, timeout: str | None = None, grace: str = "5",
    json: bool = False,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Run a command again and again, and show what changes, until it is as wanted.

    manyhands cmd.watch 'df -h /' --every 10 --until-change
    """
    from manyhands.handlers import cmd_repeat

    return cmd_repeat.watch_line(
        line, rest, every=every, until_change=until_change, until_success=until_success, until=until, times=times, shell=shell,
        timeout=timeout, grace=grace, json=json,
    )  # fmt: skip


@task(
    name="retry",
    remainder=True,
    lacking=["line"],
    help={
        **LINE, **SHELL,
        "times": "try so many times at most (default: 5)",
        "backoff": "seconds before the second try, doubled for each further one; also TIME,growth=N,max=TIME,jitter=N% (default: 1)",
        "retry_on": "try again only after these, with commas: exit statuses (75, 1-9), timeout, signal, SIGSEGV (default: any failure)",
        **LIMITS, "timeout": "stop a try after this time (30, 2m)", "json": "one JSON line for each try",
    },
)  # fmt: skip
def retry_command(
    _ctx: Context, line: str | None = None, times: int = 5, backoff: str = "1", retry_on: str | None = None, shell: bool = False,
    timeout: str | None = None,
    grace: str = "5", json: bool = False,
    rest: list[str] | None = None,
) -> int:  # fmt: skip
    """Run a command until it succeeds; exit with the status of the last try.

    manyhands cmd.retry 'curl -fsS localhost:8080' --times 5 --backoff 2 --timeout 30
    """
    from manyhands.handlers import cmd_repeat

    return cmd_repeat.retry_line(
        line, rest, times=times, backoff=backoff, retry_on=retry_on, timeout=timeout, shell=shell, grace=grace, json=json
    )


@task(help={"line": "a line for $SHELL (or bash)", "rounds": "run it so many times by each (default: 5)", **JSON})
def compare(_ctx: Context, line: str, rounds: int = 5, json: bool = False) -> int:
    """Run a shell line by subprocess, sh, invoke, click, doit and others: same result? how long?

    manyhands cmd.compare 'seq 1000 | wc -l'
    """
    from manyhands.handlers import cmd_repeat

    return cmd_repeat.compare_line(line, rounds=rounds, json=json)


# -- processes -----------------------------------------------------------------------------------------------------------

CHOICE = {
    "name": "the program's name, exactly or as a pattern (work*); repeatable: any of them",
    "user": "the user that they run as; repeatable: any of them",
    "port": "they listen on this port; repeatable: any of them",
    "cmdline": "a regular expression found in their command line; repeatable: all of them; never this command, nor what has started it "
    "with the same --cmdline",
    "older_than": "they began longer ago (90s, 2h, 3d)",
}


@task(
    name="list", short={"top": "n"},
    help={**CHOICE, "sort": "by pid (default), cpu, memory, age", "top": "only the first so many", **JSON},
)  # fmt: skip
def list_processes(
    _ctx: Context, name: list[str] = [], user: list[str] = [], port: list[str] = [], cmdline: list[str] = [],  # noqa: B006
    older_than: str | None = None, sort: Literal["pid", "cpu", "memory", "age"] = "pid", top: int | None = None,
    json: bool = False,
) -> int:  # fmt: skip
    """List processes: those of a name, user, port, command line, age; all that is given must hold.

    manyhands proc.list --user www-data --sort memory --top 5
    """
    from manyhands.handlers import proc

    chosen = proc.selector_of(name=name, user=user, port=port, cmdline=cmdline, older_than=older_than)
    return proc.show_list(chosen, sort=sort, top=top, json=json)


@task(lacking=["pid"], help={"pid": "the process at the root (default: all there are)", **JSON})
def tree(_ctx: Context, pid: str | None = None, json: bool = False) -> int:
    """Show processes below their parents, with their pids.

    manyhands proc.tree 1
    """
    from manyhands.handlers import proc

    return proc.show_tree(pid, json=json)


@task(
    name="show",
    help={"pid": "the process", "environment": "with its environment, in which secrets are masked", **JSON},
)
def show_process(_ctx: Context, pid: str, environment: bool = False, json: bool = False) -> int:
    """Show all about a process: family, CPU, memory, files, sockets, limits."""
    from manyhands.handlers import proc

    return proc.show_process(pid, environment=environment, json=json)


@task(
    short={"top": "n"},
    help={
        "every": "seconds between two looks (default: 2)", "sort": "by cpu (default), memory, age, pid",
        "top": "so many processes (default: 20)", "times": "look so many times (default: until Ctrl-C)", **JSON,
    },
)  # fmt: skip
def top(
    _ctx: Context, every: str = "2", sort: Literal["cpu", "memory", "age", "pid"] = "cpu", top: int = 20,
    times: int | None = None, json: bool = False,
) -> int:  # fmt: skip
    """Show, again and again, which processes use most."""
    from manyhands.handlers.proc_top import show_top

    return show_top(every=every, sort=sort, top=top, times=times, json=json)


@task(
    lacking=["pids"], short={"signal": "s", "yes": "y", "dry_run": "n"},
    help={
        "pids": "processes by their number", **CHOICE,
        "signal": "what to send first (default: TERM)",
        "grace": "seconds until what is left is killed (default: 5)",
        "tree": "also all that descends from them (default)",
        "dry_run": "say what would be stopped, and stop nothing",
        "yes": "do not ask before more than one is stopped (without a terminal it is needed for that)",
        **JSON,
    },
)  # fmt: skip
def stop(
    _ctx: Context, pids: list[str] = [], name: list[str] = [], user: list[str] = [], port: list[str] = [],  # noqa: B006
    cmdline: list[str] = [], older_than: str | None = None, signal: str = "TERM", grace: str = "5", tree: bool = True,  # noqa: B006
    dry_run: bool = False, yes: bool = False, json: bool = False,
) -> int:  # fmt: skip
    """Stop processes and all below them: TERM, then KILL; exit with 0 if all are gone, 1 if not or not to be seen, 3 if none.

    manyhands proc.stop --port 8080
    manyhands proc.stop --name 'work*' --older-than 2h --dry-run
    """
    from manyhands.handlers import proc

    chosen = proc.selector_of(pids=pids, name=name, user=user, port=port, cmdline=cmdline, older_than=older_than)
    return proc.stop(chosen, number=signal, grace=grace, tree=tree, dry_run=dry_run, yes=yes, json=json)


@task(name="port", help={"number": "the port", **JSON})
def who_listens(_ctx: Context, number: str, json: bool = False) -> int:
    """Show who listens on a port.

    manyhands proc.port 8080
    """
    from manyhands.handlers import proc

    return proc.show_port(number, json=json)


@task(
    lacking=["pids"],
    needs={"host": "port", "new": "log"},
    help={
        "pids": "until all these processes have ended",
        "port": "until this port takes a connection",
        "host": "where the port is (default: localhost, by IPv4 or IPv6)",
        "file": "until there is such a file",
        "log": "with --file: until a line has this regular expression; the line is printed",
        "new": "with --log: look at lines only that are written from now on",
        "gone": "until the port answers no more, or the file is gone",
        "timeout": "give up after this time, with exit status 124",
        **JSON,
    },
)  # fmt: skip
def wait(
    _ctx: Context, pids: list[str] = [], port: str | None = None, host: str = "localhost", file: str | None = None,  # noqa: B006
    log: str | None = None, new: bool = False, gone: bool = False, timeout: str | None = None, json: bool = False,
) -> int:  # fmt: skip
    """Wait until processes end, a port answers, a file is there, or a line is logged.

    manyhands proc.wait --port 8080 --timeout 30
    manyhands proc.wait --file app.log --log 'ready to serve' --new
    """
    from manyhands.handlers import proc

    return proc.wait(pids, port=port, host=host, file=file, log=log, new=new, gone=gone, timeout=timeout, json=json)


@task(help=JSON)
def limits(_ctx: Context, json: bool = False) -> int:
    """Show what a program started here may use: cores, memory, files, processes."""
    from manyhands.handlers import proc

    return proc.show_limits(json=json)


@task(help=JSON)
def orphans(_ctx: Context, json: bool = False) -> int:
    """Show processes that were adopted because their parent has ended; leaders of sessions (services) do not count."""
    from manyhands.handlers import proc

    return proc.show_orphans(json=json)


@task(help=JSON)
def zombies(_ctx: Context, json: bool = False) -> int:
    """Show processes that have ended and were not collected by their parent, and what to do."""
    from manyhands.handlers import proc

    return proc.show_zombies(json=json)


# -- the machine ---------------------------------------------------------------------------------------------------------


WATCH = {
    "watch": "again and again, until Ctrl-C",
    "every": "with --watch: seconds between two looks (default: 2)",
    **JSON,
}


@task(needs={"every": "watch"}, help=WATCH)
def info(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show what this machine is, has, and lets us use."""
    from manyhands.handlers import host

    host.show_info(json=json, watch=watch, every=every)


@task(help={**WATCH, "every": "watch them for so many seconds (default: 1)", "per_core": "each core, too"})
def cpu(_ctx: Context, per_core: bool = False, watch: bool = False, every: str = "1", json: bool = False) -> None:
    """Show how busy the CPUs are, and with what."""
    from manyhands.handlers import host

    host.show_cpu(per_core=per_core, json=json, watch=watch, every=every)


@task(needs={"every": "watch"}, help=WATCH)
def memory(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show what of memory and swap is used, as free does."""
    from manyhands.handlers import host

    host.show_memory(json=json, watch=watch, every=every)


@task(needs={"every": "watch"}, help=WATCH)
def disks(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show what of the file systems is used, as df does."""
    from manyhands.handlers import host

    host.show_disks(json=json, watch=watch, every=every)


@task(needs={"every": "watch"}, help=WATCH)
def network(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show the network interfaces: addresses, traffic, errors."""
    from manyhands.handlers import host

    host.show_network(json=json, watch=watch, every=every)


@task(needs={"every": "watch"}, help=WATCH)
def sensors(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show temperatures, fans and battery."""
    from manyhands.handlers import host

    host.show_sensors(json=json, watch=watch, every=every)


@task(needs={"every": "watch"}, help=WATCH)
def pressure(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show how long programs had to wait for CPU, memory and disks (Linux PSI)."""
    from manyhands.handlers import host

    host.show_pressure(json=json, watch=watch, every=every)


@task(needs={"every": "watch"}, help=WATCH)
def time(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show the local time, UTC, and how long the machine is up."""
    from manyhands.handlers import host

    host.show_time(json=json, watch=watch, every=every)


@task(needs={"every": "watch"}, help=WATCH)
def identity(_ctx: Context, watch: bool = False, every: str = "2", json: bool = False) -> None:
    """Show who this process is: pid, folder, user, groups, umask."""
    from manyhands.handlers import host

    host.show_identity(json=json, watch=watch, every=every)


@task(
    name="check",
    help={
        "load": "of the last minute: CRIT, or WARN,CRIT (4, or 2,4)",
        "memory": "in use, in percent: CRIT, or WARN,CRIT (90%, or 80%,90%)",
        "swap": "in use, in percent",
        "disk": "PATH=90% or PATH=80%,90%: space in use of the file system that holds PATH; repeatable",
        "inodes": "PATH=90%: the same of its inodes; repeatable",
        "processes": "how many there are",
        "zombies": "how many of them are zombies",
        **JSON,
    },
)  # fmt: skip
def check_host(
    _ctx: Context, load: str | None = None, memory: str | None = None, swap: str | None = None, disk: list[str] = [],  # noqa: B006
    inodes: list[str] = [], processes: str | None = None, zombies: str | None = None, json: bool = False,  # noqa: B006
) -> int:  # fmt: skip
    """Check the machine for a monitor: exit with 0 if all is well, 1 warning, 2 critical, 3 unknown, as Nagios plugins do.

    manyhands host.check --load 4 --memory 80%,90% --disk /=95%
    """
    from manyhands.handlers import host
    from manyhands.host.checks import Wanted

    wanted = Wanted(
        load=load, memory=memory, swap=swap, disks=disk, inodes=inodes, processes=processes, zombies=zombies
    )  # fmt: skip
    return host.show_check(wanted, json=json)


@task(help=JSON)
def doctor(_ctx: Context, json: bool = False) -> int:
    """Try whether this machine can do what manyhands needs; what follows if not, and the way out."""
    from manyhands.handlers import host

    return host.show_doctor(json=json)


@task(help={"children": "how many to fork (default: 1)", "exit_code": "what they end with (default: 0)", **JSON})
def fork_demo(_ctx: Context, children: int = 1, exit_code: int = 0, json: bool = False) -> int:
    """Fork, and show what parent and child see of each other."""
    from manyhands.handlers import host

    return host.show_fork(children=children, exit_code=exit_code, json=json)


# -- the tour ------------------------------------------------------------------------------------------------------------

TOPIC = {"topic": "processes, pools, talking, sharing, examples, threads, coroutines or events (default: all)"}


@task(
    name="all",
    help={
        **TOPIC, "start_method": "how processes are made: fork, spawn or forkserver (default: fork)",
        "scale": "multiply all waiting by this (default: 0.2)", **JSON,
    },
)  # fmt: skip
def all_scenes(
    _ctx: Context, topic: str | None = None, start_method: Literal["fork", "spawn", "forkserver"] = "fork", scale: float = 0.2,
    json: bool = False,
) -> int:  # fmt: skip
    """Play every scene, quickly, and print what was seen: a check of this machine.

    manyhands tour.all --topic threads
    """
    from manyhands.tour import door

    return door.show_all(topic=topic, start_method=start_method, scale=scale, json=json)


@task(name="list", help={**TOPIC, **JSON})
def list_scenes(_ctx: Context, topic: str | None = None, json: bool = False) -> None:
    """List the scenes by topic, with what they need."""
    from manyhands.tour import door

    door.show_list(topic=topic, json=json)


@task(
    name="compare",
    help={
        "work": "cpu: it computes; io: it waits (default: cpu)",
        "sample": "so many jobs of about 10 ms, on each backend and at each width (default: 100)",
        "plot": "draw the speed-up, too, in this .html, .svg or .png file",
        **JSON,
    },
)  # fmt: skip
def compare_ways(
    _ctx: Context, work: Literal["cpu", "io"] = "cpu", sample: int = 100, plot: str | None = None, json: bool = False
) -> int:  # fmt: skip
    """Do one piece of work in every way, side by side: times, memory, speed-up.

    manyhands tour.compare --work io
    """
    from manyhands.tour import door

    return door.compare_ways(work, sample=sample, plot_to=plot, json=json)


# -- development ---------------------------------------------------------------------------------------------------------


def _script(ctx: Context, line: str) -> None:
    with ctx.cd(Path(__file__).parent):
        ctx.run(line, pty=False)


@task(help={"tests": "run the tests, too (default)"})
def check(ctx: Context, tests: bool = True) -> None:
    """Run everything that must hold: tests, lint, types, documentation, workflows, and the wheel in a clean environment."""
    if tests:
        _script(ctx, "scripts/test")
    _script(ctx, "scripts/check")


@task
def lint(ctx: Context) -> None:
    """Check the style of the code, and its format."""
    _script(ctx, "scripts/check lint")


@task
def types(ctx: Context) -> None:
    """Check the types."""
    _script(ctx, "scripts/check types")


@task
def docs(ctx: Context) -> None:
    """Build the documentation as a site in build/docs; a warning is a failure."""
    _script(ctx, "scripts/check docs")


@task
def workflows(ctx: Context) -> None:
    """Check what GitHub reads: workflows, forms, dependabot; and the hooks of pre-commit."""
    _script(ctx, "scripts/check workflows")


@task
def wheel(ctx: Context) -> None:
    """Build the wheel and the source distribution in dist/, and use the wheel in a clean environment."""
    _script(ctx, "scripts/check wheel")


@task(help={"fast": "without the slow ones"})
def test(ctx: Context, fast: bool = False) -> None:
    """Run the tests on this checkout."""
    _script(ctx, f"scripts/test{' --fast' if fast else ''}")


@task(help={"coverage": "note in coverage/ which lines they run"})
def test_wheel(ctx: Context, coverage: bool = False) -> None:
    """Run the tests on the wheel in dist/, beside a copy of this checkout that has no lib/."""
    _script(ctx, f"scripts/test-wheel dist/*.whl{' --cov=manyhands --cov-report=' if coverage else ''}")


@task
def coverage(ctx: Context) -> None:
    """Combine what dev.test-wheel has noted in coverage/, and show the lines that no test runs."""
    _script(ctx, "scripts/coverage")


@task
def hooks(ctx: Context) -> None:
    """Let git check each commit, by pre-commit and the programs in .venv."""
    _script(ctx, "scripts/check lint && .venv/bin/pre-commit install")


@task(help={
    "log": "the file that all output goes to (default: soak.log)",
    "rounds": "run the tests so many times, each time in another order (default: 3)",
    "kills": "kill so many runs at random points (default: 200)",
})  # fmt: skip
def soak(ctx: Context, log: str = "soak.log", rounds: int = 3, kills: int = 200) -> None:
    """Run the tests again and again with four busy loops beside them, then random kills and the simulator; takes an hour."""
    path = Path(log).absolute()
    with ctx.cd(Path(__file__).parent):
        ctx.run(f"scripts/soak {quote(str(path))} {rounds} {kills}")


@task
def manual(_ctx: Context) -> None:
    """Print the manual page, which the wheel ships.

    manyhands dev.manual | man -l -
    """
    from manyhands import __version__
    from manyhands.cli.manual import manual as page

    print(page(namespace, "manyhands", __version__), end="")  # noqa: T201 - that is what it is for


@task(help={"seeds": "how many (default: 1000)", "first": "the first of them (default: 0); one that fails is told"})
def simulate(ctx: Context, seeds: int = 1000, first: int = 0) -> None:
    """Simulate whole runs, their crashes and their disks; a seed that breaks a promise is told, and repeats it."""
    here = Path(__file__).parent
    paths = f"{here / 'lib'}:{here / 'tests'}"
    ctx.run(f"{sys.executable} -m simulation --seeds {seeds} --first {first}", env={"PYTHONPATH": paths})


# -- the table -----------------------------------------------------------------------------------------------------------

batches = Collection("batch", batch, call_function, compare_backends, resume, retry, list_, show, export, remove)

commands = Collection(
    "cmd", output, status, check_output, call, system, pipe, feed, answer, watch, retry_command, compare
)
procs = Collection("proc", list_processes, tree, show_process, top, stop, wait, who_listens, orphans, zombies, limits)
hosts = Collection("host", info, cpu, memory, disks, network, sensors, pressure, time, identity, check_host, doctor)
tour = Collection("tour", all_scenes, list_scenes, compare_ways, *scene_tasks())
tour.add_task(all_scenes, "check")
dev = Collection(
    "dev", check, test, lint, types, docs, workflows, wheel, test_wheel, coverage, hooks, soak, manual, simulate
)

namespace = Collection(batches, commands, procs, hosts, tour, fork_demo)
if (Path(__file__).parent / "scripts").is_dir():  # the wheel has none
    namespace.add_collection(dev)
for collection, purpose in [
    (batches, "many jobs from one command or function, and the runs that were made"), (commands, "one command"),
    (procs, "processes"), (hosts, "this machine"), (dev, "work on manyhands itself"), (namespace, __doc__),
    (tour, "small programs that show ways of doing things at once, and check themselves"),
]:  # fmt: skip
    collection.__doc__ = purpose
SECOND_NAMES = {
    "getoutput": output, "check-output": check_output, "pipe": pipe, "terminate": stop, "system-info": info,
}  # fmt: skip
for second_name, same in SECOND_NAMES.items():  # the same tasks under the names that the tutorials use
    namespace.add_task(same, second_name)
namespace.configure({"runners": {"local": Utf8Local}, "run": {"in_stream": False}})
