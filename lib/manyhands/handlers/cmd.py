"""What the ``cmd`` tasks do that run a command once: as asked, for as long as asked, ending as it ends."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence

from manyhands.commands.byte_queue import ByteQueue
from manyhands.commands.command import limited, shell_argv, system
from manyhands.commands.command_tree import Completed
from manyhands.commands.expect import answer
from manyhands.commands.pipeline import InputFrom, OutputTo, Pipeline, PipelineResult, content
from manyhands.core.errors import UsageError
from manyhands.core.records import replace
from manyhands.core.safe_text import Harmless, harmless, one_line
from manyhands.handlers.cmd_common import chain_of, leave, limit_of, line_of, own_tree, pass_on, print_json, words_of
from manyhands.options.cmd import (
    AnswerOptions,
    CallOptions,
    CheckOptions,
    FeedOptions,
    Limited,
    PipeOptions,
    ShellLineOptions,
    SystemOptions,
)
from manyhands.render.commands import command_record, pipeline_record, printed_record, stage_lines, told
from manyhands.storage import output

_OUTPUT, _COMMAND = "manyhands.output/1", "manyhands.command/1"
"""Schemas of what is printed as JSON."""


def _captured(
    pipeline: Pipeline,
    options: Limited,
    *,
    stdin: InputFrom = None,
    stderr: OutputTo = "inherit",
    newline: bool = False,
    first: Callable[[Completed], str] | None = None,
) -> PipelineResult:
    """Run with its output captured, then print that: as it is, or in JSON. Memory does not grow with the output."""
    limit = limit_of(options.timeout)
    with tempfile.TemporaryFile(buffering=0) as file, own_tree(options.grace) as tree:
        result = pipeline.run_on(tree, stdin=stdin, stdout=file, stderr=stderr, timeout=limit)
        if tree.stopped_by is not None:
            return result
        if options.json:
            record = command_record(result.stages[0], _OUTPUT)
            print_json(record | printed_record("output", content(file.fileno())))
        else:
            if first:
                output.write(sys.stdout.fileno(), first(result.stages[0]).encode() + b"\n")
            pass_on(file.fileno(), newline=newline)
    return result


# -- output, check, status, call, system -----------------------------------------------------------------------------------


def show_output(options: ShellLineOptions) -> int:
    """Print what a shell line prints, both streams as they came; end with its status."""
    pipeline = Pipeline.of(shell_argv(line_of(options.line)))
    result = _captured(pipeline, options, stderr="stdout", newline=True)
    return leave(result, told_already=options.json or not result.timed_out)


def show_status(options: ShellLineOptions) -> int:
    """Print the status of a shell line, then what it printed. To have found out is success, whatever the status."""
    pipeline = Pipeline.of(shell_argv(line_of(options.line)))
    result = _captured(
        pipeline, options, stderr="stdout", newline=True, first=lambda end: f"{end.returncode} {told(end)}"
    )
    return 124 if result.timed_out else 0


def check(options: CheckOptions) -> int:
    """Print a command's stdout, byte for byte; end with its status, and say so unless that is 0."""
    return leave(_captured(Pipeline.of(words_of(options)), options))


def call(options: CallOptions) -> int:
    """Let a command have the terminal; end with its status."""
    pipeline, limit = Pipeline.of(words_of(options)), limit_of(options.timeout)
    sink: OutputTo = "null" if options.silent else "inherit"
    with own_tree(options.grace) as tree:
        # with --json stdout is ours: what the command prints goes where talk goes
        result = pipeline.run_on(
            tree, stdout=2 if options.json and not options.silent else sink, stderr=sink, timeout=limit
        )
    if options.json:
        print_json(command_record(result.stages[0], _COMMAND))
    return leave(result, told_already=not (result.timed_out or result.stages[0].error))


def call_system(options: SystemOptions) -> int:
    """os.system, its wait status decoded; at the time-out all that is below us is stopped."""
    line, limit = line_of(options.line), limit_of(options.timeout)
    with own_tree(options.grace) as tree:
        if limit is None:
            end = system(line)
        else:
            with limited(tree, limit) as late:
                end = system(line)
            end = replace(end, timed_out=late.is_set())
    if options.json:
        print_json(command_record(end, _COMMAND))
    return leave(end)


# -- pipe, feed, answer ----------------------------------------------------------------------------------------------------


def run_pipe(options: PipeOptions) -> int:
    """Run a chain of commands; say how every stage ended when one has failed."""
    pipeline, limit = chain_of(options.line, None, shell=options.shell), limit_of(options.timeout)
    tees = sorted((_tee(text, shell=options.shell) for text in options.tee), reverse=True)
    for stage, path in tees:  # the last first: earlier numbers stay right
        pipeline = pipeline.with_tee(stage, path)
    stdin = None if options.stdin in (None, "-") else options.stdin
    with own_tree(options.grace) as tree:
        result = pipeline.run_on(tree, stdin=stdin, stdout="capture" if options.json else "inherit", timeout=limit)
    if options.json:
        print_json(pipeline_record(result))
    elif options.verbose and result.ok:
        for text in stage_lines(result):
            sys.stderr.write(text + "\n")
    return leave(result, told_already=options.json)


def _tee(text: str, *, shell: bool) -> tuple[int, str]:
    stage, equals, path = text.partition("=")
    if not equals or not stage.isdigit() or not path:
        raise UsageError(f"--tee {text!r}: expected STAGE=FILE, such as 1=raw.txt")
    if shell:
        raise UsageError("--tee: with --shell the whole line is one stage; use tee in the line")
    return int(stage), path


def feed(options: FeedOptions) -> int:
    """Give a command its input; its output goes where ours goes, as it comes."""
    text, file = options.text, options.file
    if (text is None) == (file is None):
        raise UsageError("give the input with --text or with --file, one of them")
    pipeline, limit = Pipeline.of(words_of(options)), limit_of(options.timeout)
    source: InputFrom = os.fsencode(text) if text is not None else None if file == "-" else file
    if options.json:
        return leave(_captured(pipeline, options, stdin=source), told_already=True)
    with own_tree(options.grace) as tree:
        result = pipeline.run_on(tree, stdin=source, timeout=limit)
    return leave(result)


def converse(options: AnswerOptions) -> int:
    """Answer a program's prompts; at the time-out say what was not answered."""
    argv, limit, expect, reply = words_of(options), limit_of(options.timeout), options.expect, options.reply
    if not expect or len(expect) != len(reply):
        raise UsageError(f"--expect was given {len(expect)} times, --reply {len(reply)} times: they belong in pairs")
    safe = Harmless(colours=True)

    def seen(data: bytes) -> bytes:
        return safe.feed(data, final=not data).encode() if sys.stdout.isatty() else data

    pairs, show_it = list(zip(expect, reply, strict=True)), not options.json
    with own_tree(options.grace) as tree, ByteQueue(sys.stdout.fileno()) as shown:
        done = answer(
            argv, pairs, terminal=options.pty, timeout=limit, show=shown if show_it else None, encode=seen, tree=tree
        )
    if options.json:
        record = command_record(done.end, "manyhands.answer/1")
        replies = [{"expect": one, "times": times} for one, times in zip(expect, done.replies, strict=True)]
        print_json(record | {"replies": replies} | printed_record("screen", done.screen.encode()))
    elif done.end.timed_out:
        unseen = [one for one, times in zip(expect, done.replies, strict=True) if not times]
        _say_unanswered(done.screen, unseen, options.timeout)
    return leave(done.end, told_already=options.json or done.end.timed_out)


def _say_unanswered(screen: str, unseen: Sequence[str], timeout: str | None) -> None:
    never = f"; never asked: {', '.join(one_line(one, 60) for one in unseen)}" if unseen else ""
    sys.stderr.write(f"\nmanyhands: nobody answered: stopped after {timeout} s{never}. The last of the screen:\n")
    for line in screen.splitlines()[-5:]:
        sys.stderr.write(f"  {harmless(line)}\n")
