"""Compares the helpers that people use to run a command line: do they give the same result, and how long do they take?

Each way is what its own documentation shows for "run this line, and give me what it prints". The packages are imported when they are
needed; a missing one is reported with the extra that installs it.
"""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

from manyhands.commands.command import run, shell_argv
from manyhands.core.records import dataclass

Answer = tuple[int, bytes]
"""(exit status as a shell gives it, what was printed to stdout)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What one way gave. ``seconds`` is the median of its rounds; ``extra`` would bring it, if it is not installed; ``error``
    is what it raised. ``same``: its answer is that of the first way."""

    way: str
    answer: Answer | None = None
    seconds: float | None = None
    same: bool = False
    extra: str | None = None
    error: str | None = None


def compare(line: str, *, rounds: int = 5) -> list[Compared]:
    """Run a shell line by every way, in turns, so that a noisy machine is noisy for all. The first way is `subprocess`."""
    ready = {name: way for name, way in WAYS.items() if way.package is None or _is_installed(way.package)}
    answers: dict[str, Answer] = {}
    errors: dict[str, str] = {}
    took: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, way in ready.items():
            if name in errors:
                continue
            began = time.perf_counter()
            try:
                status, printed = way.run(line)
                answers[name] = status if status >= 0 else 128 - status, printed
            except Exception as error:  # any error is that helper's answer
                errors[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            took[name].append(time.perf_counter() - began)
    reference = answers.get("subprocess")
    return [
        Compared(name, extra=way.extra)
        if name not in ready
        else Compared(name, error=errors[name])
        if name in errors
        else Compared(name, answers[name], median(took[name]), answers[name] == reference)
        for name, way in WAYS.items()
    ]


def _is_installed(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def _subprocess(line: str) -> Answer:
    done = subprocess.run([*shell_argv(line)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    return done.returncode, done.stdout


def _manyhands(line: str) -> Answer:
    end = run(shell_argv(line), stdin=b"", stderr="inherit")
    return end.returncode, end.stdout or b""


def _sh(line: str) -> Answer:
    import sh

    shell, *arguments = shell_argv(line)
    try:
        done: Any = sh.Command(shell)(*arguments, _in=b"", _tty_out=False, _return_cmd=True)
    except sh.ErrorReturnCode as error:
        done = error
    return done.exit_code, done.stdout


def _invoke(line: str) -> Answer:
    from invoke import Config, Context

    done: Any = Context(Config()).run(line, hide="out", warn=True, in_stream=False, encoding="utf-8")
    return done.exited, done.stdout.encode("utf-8", "surrogateescape")


def _click(line: str) -> Answer:
    import click
    from click.testing import CliRunner

    def chore() -> None:
        status, printed = _subprocess(line)
        click.get_binary_stream("stdout").write(printed)
        raise SystemExit(status)

    done = CliRunner().invoke(click.Command("chore", callback=chore))
    return done.exit_code, done.stdout_bytes


def _doit(line: str) -> Answer:
    from doit.action import CmdAction

    action = CmdAction([*shell_argv(line)], shell=False)
    failed: Any = action.execute()
    return (int(str(failed).rsplit(" ", 1)[-1]) if failed else 0), action.out.encode("utf-8", "surrogateescape")


def _delegator(line: str) -> Answer:
    import delegator

    done = delegator.run(shlex.join(shell_argv(line)))
    return done.return_code, done.out.encode("utf-8", "surrogateescape")


def _pypeln(line: str) -> Answer:
    import pypeln

    answer: Answer = next(iter(pypeln.thread.map(_subprocess, [line])))
    return answer


@dataclass(frozen=True, slots=True)
class _Way:
    """How a helper does it, its package, and the extra of ours that installs that."""

    run: Callable[[str], Answer]
    package: str | None = None
    extra: str | None = None


WAYS: Final = {
    "subprocess": _Way(_subprocess),
    "manyhands": _Way(_manyhands),
    "invoke": _Way(_invoke),
    "sh": _Way(_sh, "sh", "compare"),
    "click": _Way(_click, "click", "compare"),
    "doit": _Way(_doit, "doit", "compare"),
    "delegator": _Way(_delegator, "delegator", "compare"),
    "pypeln": _Way(_pypeln, "pypeln", "compare"),
}
