"""What the ``cmd`` tasks do that run a command once: as asked, for as long as asked, ending as it ends."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace

from manyhands.commands.byte_queue import ByteQueue
from manyhands.commands.command import limited, shell_argv, system
from manyhands.commands.expect import answer
from manyhands.commands.pipeline import Pipeline, PipelineResult, Sink, Source, content
from manyhands.commands.process_tree import Completed
from manyhands.core.errors import UsageError
from manyhands.core.safe_text import Harmless, harmless, one_line
from manyhands.handlers.cmd_common import chain_of, leave, limit_of, line_of, own_tree, pass_on, print_json, words_of
from manyhands.render.commands import command_record, pipeline_record, printed_record, stage_lines, told
from manyhands.storage import output


def _captured(
    pipeline: Pipeline, *, timeout: str | None, grace: str, json: bool, schema: str, stdin: Source = None,
    stderr: Sink = "inherit", newline: bool = False, first: Callable[[Completed], str] | None = None,
) -> PipelineResult:  # fmt: skip
    """Run with its output captured, then print that: as it is, or in JSON. Memory does not grow with the output."""
    limit = limit_of(timeout)
    with tempfile.TemporaryFile(buffering=0) as file, own_tree(grace) as tree:
        result = pipeline.run(stdin=stdin, stdout=file, stderr=stderr, timeout=limit, tree=tree)
        if tree.stopped_by is not None:
            return result
        if json:
            record = command_record(result.stages[0], schema)
            print_json(record | printed_record("output", content(file.fileno())))
        else:
            if first:
                output.write(sys.stdout.fileno(), first(result.stages[0]).encode() + b"\n")
            pass_on(file.fileno(), newline=newline)
    return result


# -- output, check, status, call, system -----------------------------------------------------------------------------------


def show_output(line: str, *, timeout: str | None, grace: str, json: bool) -> int:
    """Print what a shell line prints, both streams as they came; end with its status."""
    pipeline = Pipeline.of(shell_argv(line_of(line)))
    result = _captured(
        pipeline, timeout=timeout, grace=grace, json=json, schema="manyhands.output/1", stderr="stdout", newline=True
    )
    return leave(result, told_already=json or not result.timed_out)


def show_status(line: str, *, timeout: str | None, grace: str, json: bool) -> int:
    """Print the status of a shell line, then what it printed. To have found out is success, whatever the status."""
    pipeline = Pipeline.of(shell_argv(line_of(line)))
    result = _captured(
        pipeline, timeout=timeout, grace=grace, json=json, schema="manyhands.output/1", stderr="stdout", newline=True,
        first=lambda end: f"{end.status} {told(end)}",
    )  # fmt: skip
    return 124 if result.timed_out else 0


def check(
    command: str | None, rest: Sequence[str] | None, *, shell: bool, timeout: str | None, grace: str, json: bool
) -> int:
    """Print a command's stdout, byte for byte; end with its status, and say so unless that is 0."""
    pipeline = Pipeline.of(words_of(command, rest, shell=shell))
    result = _captured(pipeline, timeout=timeout, grace=grace, json=json, schema="manyhands.output/1")
    return leave(result)


def call(
    command: str | None, rest: Sequence[str] | None, *, shell: bool, silent: bool, timeout: str | None, grace: str, json: bool
) -> int:  # fmt: skip
    """Let a command have the terminal; end with its status."""
    pipeline, limit = Pipeline.of(words_of(command, rest, shell=shell)), limit_of(timeout)
    sink: Sink = "null" if silent else "inherit"
    with own_tree(grace) as tree:
        # with --json stdout is ours: what the command prints goes where talk goes
        result = pipeline.run(stdout=2 if json and not silent else sink, stderr=sink, timeout=limit, tree=tree)
    if json:
        print_json(command_record(result.stages[0], "manyhands.command/1"))
    return leave(result, told_already=not (result.timed_out or result.stages[0].error))


def call_system(line: str, *, timeout: str | None, grace: str, json: bool) -> int:
    """os.system, its wait status decoded; at the time-out all that is below us is stopped."""
    line, limit = line_of(line), limit_of(timeout)
    with own_tree(grace) as tree:
        if limit is None:
            end = system(line)
        else:
            with limited(tree, limit) as late:
                end = system(line)
            end = replace(end, timed_out=late.is_set())
    if json:
        print_json(command_record(end, "manyhands.command/1"))
    return leave(end)


# -- pipe, feed, answer ----------------------------------------------------------------------------------------------------


def run_pipe(
    line: str, *, tee: Sequence[str], stdin: str | None, shell: bool, verbose: bool, timeout: str | None, grace: str,
    json: bool,
) -> int:  # fmt: skip
    """Run a chain of commands; say how every stage ended when one has failed."""
    pipeline, limit = chain_of(line, None, shell=shell), limit_of(timeout)
    tees = sorted((_tee(text, shell=shell) for text in tee), reverse=True)  # the last first: earlier numbers stay right
    for stage, path in tees:
        pipeline = pipeline.with_tee(stage, path)
    with own_tree(grace) as tree:
        result = pipeline.run(
            stdin=None if stdin in (None, "-") else stdin,
            stdout="capture" if json else "inherit",
            timeout=limit,
            tree=tree,
        )
    if json:
        print_json(pipeline_record(result))
    elif verbose and result.ok:
        for text in stage_lines(result):
            sys.stderr.write(text + "\n")
    return leave(result, told_already=json)


def _tee(text: str, *, shell: bool) -> tuple[int, str]:
    stage, equals, path = text.partition("=")
    if not equals or not stage.isdigit() or not path:
        raise UsageError(f"--tee {text!r}: expected STAGE=FILE, such as 1=raw.txt")
    if shell:
        raise UsageError("--tee: with --shell the whole line is one stage; use tee in the line")
    return int(stage), path


def feed(
    command: str | None, rest: Sequence[str] | None, *, shell: bool, text: str | None, file: str | None, timeout: str | None, grace: str,
    json: bool,
) -> int:  # fmt: skip
    """Give a command its input; its output goes where ours goes, as it comes."""
    if (text is None) == (file is None):
        raise UsageError("give the input with --text or with --file, one of them")
    pipeline, limit = Pipeline.of(words_of(command, rest, shell=shell)), limit_of(timeout)
    source: Source = os.fsencode(text) if text is not None else None if file == "-" else file
    if json:
        return leave(_captured(
            pipeline, timeout=timeout, grace=grace, json=True, schema="manyhands.output/1", stdin=source
        ), told_already=True)  # fmt: skip
    with own_tree(grace) as tree:
        result = pipeline.run(stdin=source, timeout=limit, tree=tree)
    return leave(result)


def converse(
    command: str | None, rest: Sequence[str] | None, *, shell: bool, expect: Sequence[str], reply: Sequence[str], pty: bool,
    timeout: str, grace: str, json: bool,
) -> int:  # fmt: skip
    """Answer a program's prompts; at the time-out say what was not answered."""
    argv, limit = words_of(command, rest, shell=shell), limit_of(timeout)
    if not expect or len(expect) != len(reply):
        raise UsageError(f"--expect was given {len(expect)} times, --reply {len(reply)} times: they belong in pairs")
    safe = Harmless(colours=True)

    def seen(data: bytes) -> bytes:
        return safe.feed(data, final=not data).encode() if sys.stdout.isatty() else data

    pairs = list(zip(expect, reply, strict=True))
    with own_tree(grace) as tree, ByteQueue(sys.stdout.fileno()) as shown:
        done = answer(argv, pairs, terminal=pty, timeout=limit, show=None if json else shown, encode=seen, tree=tree)
    if json:
        record = command_record(done.end, "manyhands.answer/1")
        replies = [{"expect": one, "times": times} for one, times in zip(expect, done.replies, strict=True)]
        print_json(record | {"replies": replies} | printed_record("screen", done.screen.encode()))
    elif done.end.timed_out:
        _say_unanswered(done.screen, [one for one, times in zip(expect, done.replies, strict=True) if not times], timeout)
    return leave(done.end, told_already=json or done.end.timed_out)


def _say_unanswered(screen: str, unseen: Sequence[str], timeout: str) -> None:
    never = f"; never asked: {', '.join(one_line(one, 60) for one in unseen)}" if unseen else ""
    sys.stderr.write(f"\nmanyhands: nobody answered: stopped after {timeout} s{never}. The last of the screen:\n")
    for line in screen.splitlines()[-5:]:
        sys.stderr.write(f"  {harmless(line)}\n")
