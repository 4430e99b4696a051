"""What the ``host`` tasks and ``fork-demo`` do: look, and print as text or JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from json import dumps
from typing import Any

from manyhands.forks import ForkEvent, fork_demo
from manyhands.host import host_info, identity
from manyhands.render.machine import fork_line, fork_verdict, identity_lines, info_lines


def show_info(*, json: bool) -> None:
    """Print what the machine is and has."""
    info = host_info()
    _print(info.to_json() if json else info_lines(info))


def show_identity(*, json: bool) -> None:
    """Print who this process is."""
    who = identity()
    _print(who.to_json() if json else identity_lines(who))


def show_fork(*, children: int, exit_code: int, json: bool) -> int:
    """Fork before the user's eyes; returns 0 if everything was as it should be, else 1."""

    def emit(event: ForkEvent) -> None:
        _print({"schema": "manyhands.fork/1", **asdict(event)} if json else [fork_line(event)])

    sys.stdout.flush()  # or the child would own a copy of what is not written yet
    report = fork_demo(children=children, exit_code=exit_code, emit=emit)
    if not json:
        _print([fork_verdict(report)])
    return 0 if report.as_expected else 1


def _print(what: Mapping[str, Any] | Iterable[str]) -> None:
    lines = [dumps(what, ensure_ascii=False)] if isinstance(what, Mapping) else what
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
