"""Runs one command at a time, as `subprocess` and `os` do, without their known faults: a time-out stops the whole tree, no call waits
for another process that keeps a pipe open, any amount of input and output passes, and every end is reported exactly.

    output, status, system    a line for the user's shell        check_output, call, feed    an argument list, no shell
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from manyhands.commands.command_tree import Completed, Tree
from manyhands.commands.pipeline import CommandError, InputFrom, OutputTo, Pipeline, shown, told
from manyhands.core.records import replace
from manyhands.work.template import user_shell

Argv = Sequence[str]


def shell_argv(line: str) -> tuple[str, ...]:
    """The argument list that runs a line in the user's shell: $SHELL if it is a POSIX shell, else bash, else /bin/sh. In bash and
    similar shells, a pipe fails if any part of it fails."""
    shell = user_shell(os.environ)
    return (shell, "-c", line) if os.path.basename(shell) == "sh" else (shell, "-o", "pipefail", "-c", line)


def run(
    argv: Argv,
    *,
    stdin: InputFrom = None,
    stdout: OutputTo = "capture",
    stderr: OutputTo = "capture",
    timeout: float | None = None,
    grace: float = 5.0,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run one command to its end; `Pipeline.run` describes the arguments."""
    result = Pipeline.of(argv).run(
        stdin=stdin, stdout=stdout, stderr=stderr, timeout=timeout, grace=grace, cwd=cwd, env=env
    )
    return replace(result.stages[0], stdout=result.stdout, stderr=result.stderr)


def output(line: str, *, timeout: float | None = None) -> str:
    """The output of a shell line, stdout and stderr together in the order of printing, without the last newline, whether it
    succeeds or not (`subprocess.getoutput`). Bytes that are not UTF-8 become surrogates (PEP 383).

    Raises CommandError at a time-out.
    """
    return status(line, timeout=timeout)[1]


def status(line: str, *, timeout: float | None = None) -> tuple[int, str]:
    """(exit status as a shell gives it, what it printed) of a shell line: 128+n after death by signal n, where
    `subprocess.getstatusoutput` gives -n. Raises CommandError at a time-out."""
    end = run(shell_argv(line), stderr="stdout", timeout=timeout)
    if end.timed_out:
        raise CommandError(f"stopped after {timeout:g} s: {line}", end)
    return end.returncode, (end.stdout or b"").removesuffix(b"\n").decode("utf-8", "surrogateescape")


def check_output(
    argv: Argv,
    *,
    stdin: InputFrom = b"",
    timeout: float | None = None,
    grace: float = 5.0,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> bytes:
    """What a command writes to its stdout, exactly, as ``subprocess.check_output`` has it; its stderr goes where ours goes.

        check_output(["git", "rev-parse", "HEAD"], cwd=checkout, timeout=10)

    ``stdin``: bytes, the path of a file, or an open file. After ``timeout`` seconds all that it has started is stopped, with ``grace``
    seconds between TERM and KILL. Raises CommandError, whose ``result`` has the output, unless the exit status is 0.
    """
    end = run(argv, stdin=stdin, stderr="inherit", timeout=timeout, grace=grace, cwd=cwd, env=env)
    if not end.ok:
        raise CommandError(f"{shown(argv)} {told(end, timeout)}", end)
    return end.stdout or b""


def call(argv: Argv, *, silent: bool = False, timeout: float | None = None) -> int:
    """Run a command on the terminal, and return its status; ``silent``: discard its output (`subprocess.call`)."""
    sink: OutputTo = "null" if silent else "inherit"
    return run(argv, stdout=sink, stderr=sink, timeout=timeout).returncode


def feed(argv: Argv, data: InputFrom, *, timeout: float | None = None) -> Completed:
    """Give a command its input, and capture its output, of any size (`subprocess.Popen.communicate`)."""
    return run(argv, stdin=data, stderr="inherit", timeout=timeout)


def system(line: str) -> Completed:
    """`os.system`: a line for /bin/sh, straight to the terminal. Its wait status is decoded (`os.waitstatus_to_exitcode`).

    os.system reports nothing about the process, so its pid, times and memory are not known, and it cannot be stopped.
    """
    sys.stdout.flush()
    started, began = time.time(), time.monotonic()
    code = os.waitstatus_to_exitcode(os.system(line))  # noqa: S605 - it is what was asked for
    wall = time.monotonic() - began
    argv = ("/bin/sh", "-c", line)
    return Completed(
        argv, exit=code if code >= 0 else None, signal=-code if code < 0 else None, started=started, wall=wall
    )


@contextmanager
def limited(tree: Tree, timeout: float | None) -> Iterator[threading.Event]:
    """Stop the members of ``tree`` if the block takes longer than ``timeout``, for work that has no time-out of its own; the event
    is set if that was done."""
    late, over = threading.Event(), threading.Event()

    def stop() -> None:
        if not over.wait(timeout):
            late.set()
            tree.terminate()
            while not over.wait(0.02):
                tree.step(None)

    thread = threading.Thread(target=stop, name="manyhands-limit")
    thread.start()
    try:
        yield late
    finally:
        over.set()
        thread.join()
