"""What all ``cmd`` tasks share: how a command is given, what ends it, how we end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import dumps
from typing import Any

from manyhands.commands.command import shell_argv
from manyhands.commands.command_tree import Completed, Tree
from manyhands.commands.pipeline import Pipeline, PipelineResult
from manyhands.core.errors import UsageError
from manyhands.core.limits import parse_duration
from manyhands.core.safe_text import Harmless
from manyhands.options.cmd import OneCommand
from manyhands.posix import linux
from manyhands.posix.signals import Watched, die_by, in_foreground
from manyhands.render.commands import stage_lines
from manyhands.storage import output
from manyhands.work.command_line import split_words


@contextmanager
def own_tree(grace: str) -> Iterator[Tree]:
    """A tree for this program, which does nothing else: nothing can escape it, and the signals that end us end it.

    Ctrl-C at the terminal reaches the commands as it reaches us: they decide what to make of it, and we end as they end, as a
    shell does (https://www.cons.org/cracauer/sigint.html). Elsewhere an INT is for us alone, and stops the tree.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would cost us the statuses (wait(2))
    sys.stdout.flush()

    def stop(number: int) -> None:
        if not (number == signal.SIGINT and tree.running and in_foreground()):
            tree.stop(number)

    adopts = linux.become_subreaper()
    with Tree(grace=parse_duration(grace, "--grace"), adopts=adopts) as tree, Watched(stop, tree.wake, talkative=False):
        yield tree
    if tree.stopped_by is not None:
        sys.stdout.flush()
        die_by(tree.stopped_by)


def limit_of(timeout: str | None) -> float | None:
    """Seconds; None for no limit."""
    if timeout is None:
        return None
    seconds = parse_duration(timeout, "--timeout")
    if not seconds:
        raise UsageError(f"--timeout {timeout}: expected more than 0 seconds")
    return seconds


def words_of(options: OneCommand) -> Sequence[str]:
    """The argument list: what stands after ``--``, or a text split at its blanks, or handed to the shell."""
    return _words_of(options.command, options.rest, shell=options.shell)


def _words_of(command: str | None, rest: Sequence[str] | None, *, shell: bool) -> Sequence[str]:
    if (command is None) == (rest is None):
        raise UsageError("give the command either as one text, or as words after --")
    if command is None:
        if shell:
            raise UsageError("--shell wants the command as one text, not as words after --")
        if not rest:
            raise UsageError("there is no command after --")
        return rest
    return shell_argv(line_of(command)) if shell else split_words(command)


def line_of(text: str) -> str:
    """A line for a shell, which is not looked into. Raises UsageError for an empty one."""
    if not text.strip():
        raise UsageError("the command is empty")
    if "\0" in text:
        raise UsageError("the command holds a NUL byte")
    return text


def chain_of(line: str | None, rest: Sequence[str] | None, *, shell: bool) -> Pipeline:
    """The commands of a line, or the shell that is given it; or the one command whose words stand after ``--``."""
    if line is None or rest is not None:
        return Pipeline.of(_words_of(line, rest, shell=shell))
    return Pipeline.of(shell_argv(line_of(line))) if shell else Pipeline.parse(line)


def leave(result: PipelineResult | Completed, *, told_already: bool = False) -> int:
    """Say what went wrong, if anything did, and end as the command ended."""
    result = result if isinstance(result, PipelineResult) else PipelineResult((result,), result.wall)
    sys.stdout.flush()
    if any(stage.signal == signal.SIGINT for stage in result.stages):
        die_by(signal.SIGINT)
    nobody_reads = result.returncode == 128 + signal.SIGPIPE
    if not result.ok and not told_already and not nobody_reads:
        for line in stage_lines(result):
            sys.stderr.write(line + "\n")
    return result.returncode


def print_json(record: Mapping[str, Any]) -> None:
    """One JSON object on a line of stdout, at once."""
    sys.stdout.write(dumps(record, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def pass_on(file: int, *, newline: bool = False) -> None:
    """Write a captured output to stdout: exactly to files and pipes, harmless to a terminal; ``newline``: end its last line."""
    to, terminal = sys.stdout.fileno(), sys.stdout.isatty()
    safe, last = Harmless(colours=True), b""
    os.lseek(file, 0, os.SEEK_SET)
    while block := os.read(file, 1 << 20):
        last = block
        output.write(to, safe.feed(block).encode() if terminal else block)
    if terminal:
        output.write(to, safe.feed(b"", final=True).encode())
    if newline and last and not last.endswith(b"\n"):
        output.write(to, b"\n")
