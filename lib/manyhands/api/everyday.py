"""For programs: what the everyday tasks ``cmd.retry``, ``cmd.watch``, ``cmd.answer`` and ``host.check`` do, as functions.

What they are made of is in `manyhands.commands` and `manyhands.host`, where the caller passes a tree of processes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from manyhands.commands import expect
from manyhands.commands import retry as repeated
from manyhands.commands.command_tree import Tree
from manyhands.commands.expect import Answered
from manyhands.commands.pipeline import InputFrom, OutputTo, Pipeline, PipelineResult, check_result
from manyhands.commands.retry import Look, Until
from manyhands.core.errors import UsageError
from manyhands.core.limits import Backoff, RetryOn
from manyhands.host.checks import Checked, check
from manyhands.options.host import CheckHostOptions


def retry(
    *commands: Sequence[str],
    times: int = 5,
    backoff: Backoff | float | str = 1.0,
    retry_on: RetryOn | str | int | Sequence[str | int] | None = None,
    stdin: InputFrom = None,
    stdout: OutputTo = "capture",
    stderr: OutputTo = "inherit",
    timeout: float | None = None,
    grace: float = 5.0,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = False,
) -> PipelineResult:
    """Run argument lists as a chain, as `pipe` does, again and again until it succeeds; how it ended the last time.

        retry(["curl", "-fsS", url], times=5, backoff="1,growth=2,max=1m", timeout=30, check=True)

    ``times`` at most; between two tries wait as ``backoff`` says: so many seconds first, then twice as long each time. ``retry_on``:
    only after such ends: exit statuses, "timeout", "signal", "SIGSEGV" (see `RetryOn`). ``timeout`` is for each try. A try that
    Ctrl-C has ended is the last. With ``check``, raises CommandError when the last try has failed.
    """
    if times < 1:
        raise UsageError(f"times={times}: expected 1 or more")
    chain = Pipeline.of(*commands)
    waits = backoff if isinstance(backoff, Backoff) else Backoff.parse(backoff)
    rule = retry_on if retry_on is None or isinstance(retry_on, RetryOn) else RetryOn.parse(retry_on)
    if rule and rule.exceptions:
        raise UsageError(f"retry_on={rule.exceptions[0]}: a command raises no exceptions; give exit statuses or signals")
    with Tree(grace=grace) as tree:

        def once() -> PipelineResult:
            return chain.run_on(tree, stdin=stdin, stdout=stdout, stderr=stderr, timeout=timeout, cwd=cwd, env=env)

        *_, last = repeated.retry(once, tree, times=times, backoff=waits, retry_on=rule)
    return check_result(last.result) if check else last.result


def watch(
    *commands: Sequence[str],
    every: float = 2.0,
    until: Until = None,
    times: int | None = None,
    timeout: float | None = None,
    grace: float = 5.0,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Look]:
    """Run argument lists as a chain every ``every`` seconds, and yield what was seen each time.

        for look in watch(["df", "-h", "/"], every=10, until="change", timeout=3600): print(look.output)

    It ends when the output is not what it was at first (``until`` "change"), the chain has succeeded ("success"), the output matches
    (a compiled pattern of bytes); after ``times`` looks; or when ``timeout`` seconds have gone. ``met`` of the last `Look` says
    whether what was waited for has come. Leaving the loop stops what runs.
    """
    if times is not None and times < 1:
        raise UsageError(f"times={times}: expected 1 or more")
    if not (until in (None, "change", "success") or (isinstance(until, re.Pattern) and isinstance(until.pattern, bytes))):
        raise UsageError(f"until={until!r:.80}: expected 'change', 'success' or a compiled pattern of bytes")
    return _looks(Pipeline.of(*commands), every, until, times, timeout, grace, cwd, env)


def _looks(
    chain: Pipeline,
    every: float,
    until: Until,
    times: int | None,
    timeout: float | None,
    grace: float,
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str] | None,
) -> Iterator[Look]:
    with Tree(grace=grace) as tree:

        def once(left: float | None) -> PipelineResult:
            return chain.run_on(tree, stdin=b"", stdout="capture", stderr="stdout", timeout=left, cwd=cwd, env=env)

        yield from repeated.watch(once, tree, every=every, until=until, times=times, timeout=timeout)


def answer(
    argv: Sequence[str],
    replies: Mapping[str, str] | Sequence[tuple[str, str]],
    *,
    terminal: bool = False,
    timeout: float | None = None,
    grace: float = 5.0,
) -> Answered:
    """Run a program and type, whenever a pattern (a regular expression) appears in what it prints, the reply and Enter.

        answer(["./install.sh"], {r"Continue\\?": "y", "Folder: ": "/opt"}, timeout=60)

    ``terminal``: on a pseudo-terminal of its own, for programs that ask only there (getpass, ssh, sudo). At ``timeout`` seconds all
    that it has started is stopped; ``screen`` of the `Answered` then shows what was waited at. Raises UsageError for a pattern that is none.
    """
    pairs = list(replies.items()) if isinstance(replies, Mapping) else list(replies)
    with Tree(grace=grace) as tree:
        return expect.answer(argv, pairs, terminal=terminal, timeout=timeout, tree=tree)


def check_host(
    *,
    load: float | str | None = None,
    memory: str | None = None,
    swap: str | None = None,
    disks: Mapping[str, str] | None = None,
    inodes: Mapping[str, str] | None = None,
    processes: int | str | None = None,
    zombies: int | str | None = None,
) -> list[Checked]:
    """Measure this machine and compare it with thresholds, as monitoring plugins do; what was found, in the order of the arguments.

        if any(one.level is Level.CRITICAL for one in check_host(load=4, memory="80%,90%", disks={"/": "95%"})): ...

    A threshold is a number (``load``, ``processes``, ``zombies``) or a percentage of what there is; of two, the first is for a warning.
    Raises UsageError for a threshold that is none, and if there is none at all.
    """
    return check(
        CheckHostOptions(
            load=_text(load),
            memory=memory,
            swap=swap,
            processes=_text(processes),
            zombies=_text(zombies),
            disk=_by_path(disks),
            inodes=_by_path(inodes),
        )
    )


def _text(threshold: float | str | None) -> str | None:
    return None if threshold is None else str(threshold)


def _by_path(thresholds: Mapping[str, str] | None) -> list[str]:
    return [f"{path}={threshold}" for path, threshold in (thresholds or {}).items()]
