"""Backends for the tests of warm jobs: one that runs commands, and one that forks those of a script."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil

from backends.test_command_backends import Bench
from manyhands.backends.commands import Commands
from manyhands.backends.protocol import Noted
from manyhands.backends.settings import CommandSettings
from manyhands.core.job import Ending
from manyhands.work.python_command import python_command
from manyhands.work.template import Template

PYTHON = os.environ.get("MH_TEST_PYTHON", sys.executable)
"""Another interpreter, to try the scripts with: warm and cold are compared, whatever it is."""
COMMAND = f"{PYTHON} script.py"
Make = Callable[..., Bench]


def opened(folder: Path, command: str | None = None, *, preload: tuple[str, ...] = (), **settings: Any) -> Bench:
    """A backend in ``folder`` for commands, or for those that begin with ``command``."""
    outputs = folder / f"outputs-{'cold' if command is None else 'warm'}"
    outputs.mkdir(exist_ok=True)
    search = os.environb[b"PATH"]
    environment = {**os.environb, **settings.pop("environment", {})}
    given: dict[str, Any] = {
        "slots": 1,
        "outputs": outputs,
        "token": f"zygote{os.getpid()}",
        "workdir": folder,
        "grace": 0.3,
        "warm": python_command(Template.parse(command), preload, str(folder), search) if command else None,
    }
    backend = Commands(CommandSettings(**given | settings, environment=environment))
    return Bench(backend, shlex.split(command) if command else ())


def seen(ending: Ending) -> tuple[object, ...]:
    """What a user sees of it, but for addresses in memory."""
    texts = (one.read().decode(errors="backslashreplace") for one in (ending.stdout, ending.stderr))
    return (ending.exit, ending.signal, ending.error, *(re.sub("0x[0-9a-f]{6,}", "0x...", text) for text in texts))


def notes(bench: Bench) -> list[str]:
    """What the user was told."""
    return [one.text for one in bench.reports if isinstance(one, Noted)]


def compare(folder: Path, command: str, *jobs: tuple[str, ...], **settings: Any) -> None:
    """Run jobs, with these arguments after the command, in both ways, and check that all is the same."""
    cold, warm = opened(folder, **settings), opened(folder, command, **settings)
    try:
        for arguments in jobs:
            ends = (cold.run(*shlex.split(command), *arguments), warm.run(*arguments))
            first, second = (seen(one.ending) for one in ends)
            assert second == first
        assert notes(warm) == []
    finally:
        cold.backend.close()
        warm.backend.close()


@contextmanager
def maker(folder: Path) -> Iterator[Make]:
    """Makes backends for a script of a source in ``folder``, and closes them."""
    made: list[Bench] = []

    def bench(source: str, command: str = COMMAND, **settings: Any) -> Bench:
        (folder / "script.py").write_text(dedent(source))
        made.append(opened(folder, command, **settings))
        return made[-1]

    try:
        yield bench
    finally:
        for one in made:
            one.backend.close()


def out(bench: Bench, *arguments: str) -> str:
    """What the next job prints; it has to end well."""
    ending = bench.run(*arguments).ending
    assert (ending.exit, ending.stderr.data) == (0, b""), ending
    return ending.stdout.read().decode().strip()


def zygotes() -> list[psutil.Process]:
    """The zygotes of this process's launchers."""
    return [one for one in psutil.Process().children(recursive=True) if _is_zygote(one)]


def _is_zygote(process: psutil.Process) -> bool:
    try:
        return "manyhands: has imported" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return False
