"""What the ``cmd`` tasks do that run a command more than once: watch it, retry it, compare the ways to run it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from manyhands.commands.compare_tools import compare
from manyhands.commands.pipeline import PipelineResult
from manyhands.commands.retry import Look, Until, retry, watch
from manyhands.core.errors import UsageError
from manyhands.core.limits import Backoff, RetryOn, parse_duration
from manyhands.core.safe_text import one_line
from manyhands.handlers.cmd_common import chain_of, leave, limit_of, line_of, own_tree, print_json
from manyhands.options.cmd import CompareToolsOptions, RetryOptions, WatchOptions
from manyhands.render.cmd_watch import Paper, Screen
from manyhands.render.commands import comparison_lines, look_record, pipeline_record, printed_record, try_line

# -- watch -----------------------------------------------------------------------------------------------------------------


def watch_line(options: WatchOptions) -> int:
    """Look at a command again and again; 0 when what was waited for has come, 124 when time is up before, 1 otherwise."""
    pipeline, limit = chain_of(options.line, options.rest, shell=options.shell), limit_of(options.timeout)
    line = options.line if options.line is not None else shlex.join(options.rest or [])
    interval, goal, times = parse_duration(options.every, "--every"), _goal(options), options.times
    if times is not None and times < 1:
        raise UsageError(f"--times {times}: expected 1 or more")
    look = None
    with own_tree(options.grace) as tree, _shown(line, interval, json=options.json) as show:

        def once(left: float | None) -> PipelineResult:
            return pipeline.run_on(tree, stdin=b"", stdout="capture", stderr="stdout", timeout=left)

        for look in watch(once, tree, every=interval, until=goal, times=times, timeout=limit):
            show(look)
    if goal is None or (look and look.met):
        return 0
    if look and times == look.number:
        sys.stderr.write(f"manyhands: {one_line(line, 200)}: no success, match or change in {times} runs\n")
        return 1
    sys.stderr.write(f"manyhands: {one_line(line, 200)}: no success, match or change within {options.timeout} s\n")
    return 124


def _goal(options: WatchOptions) -> Until:
    pattern = options.until
    if options.until_change + options.until_success + (pattern is not None) > 1:
        raise UsageError("--until-change, --until-success and --until: choose one")
    if pattern is not None:
        try:
            return re.compile(pattern.encode("utf-8", "surrogateescape"), re.MULTILINE)
        except re.error as error:
            raise UsageError(f"--until {pattern!r}: {error}") from None
    return "change" if options.until_change else "success" if options.until_success else None


@contextmanager
def _shown(line: str, every: float, *, json: bool) -> Iterator[Callable[[Look], None]]:
    """How looks are shown: as JSON lines, in place on a terminal, or one after another with what has changed."""
    if json:
        yield lambda look: print_json(look_record(look))
    elif sys.stdout.isatty():
        with Screen(line, every) as screen:
            yield screen.show
    else:
        yield Paper(sys.stdout.fileno()).show


# -- retry -----------------------------------------------------------------------------------------------------------------


def retry_line(options: RetryOptions) -> int:
    """Try a command until it succeeds; end with the status of the last try."""
    pipeline, limit = chain_of(options.line, options.rest, shell=options.shell), limit_of(options.timeout)
    wait, rule = Backoff.parse(options.backoff), RetryOn.parse(options.retry_on) if options.retry_on is not None else None
    if rule and rule.exceptions:
        raise UsageError(
            f"--retry-on {rule.exceptions[0]}: a command raises no exceptions; give exit statuses or signals"
        )
    with own_tree(options.grace) as tree:

        def once() -> PipelineResult:
            return pipeline.run_on(tree, stdout="capture" if options.json else "inherit", timeout=limit)

        for one in retry(once, tree, times=options.times, backoff=wait, retry_on=rule):
            result = one.result
            if options.json:
                print_json(pipeline_record(result) | {"schema": "manyhands.try/1", "try": one.number, "wait": one.wait})
            elif not result.ok and tree.stopped_by is None:
                sys.stderr.write(f"manyhands: {try_line(one, options.times)}\n")
    return leave(result, told_already=True)


# -- compare ---------------------------------------------------------------------------------------------------------------


def compare_line(options: CompareToolsOptions) -> int:
    """Run a shell line by every helper; 0 when all that are installed gave the same."""
    rounds = options.rounds
    if rounds < 1:
        raise UsageError(f"--rounds {rounds}: at least one is needed")
    found = compare(line_of(options.line), rounds=rounds)
    if options.json:
        for one in found:
            status, printed = one.answer or (None, None)
            record = asdict(one) | {"schema": "manyhands.compare/1", "status": status}
            del record["answer"]
            print_json(record | (printed_record("stdout", printed) if printed is not None else {"stdout": None}))
    else:
        for text in comparison_lines(found, rounds):
            sys.stdout.write(text + "\n")
    return 0 if all(one.same for one in found if one.extra is None) else 1
