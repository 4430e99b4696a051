"""Showing a run: on a terminal, in a log, to a program. One module for each way; `choose` picks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO, TextIO

if TYPE_CHECKING:
    from manyhands.render.protocol import Renderer


def choose(
    *, json: bool, quiet: bool, tag: bool, stdout: BinaryIO, stderr: TextIO, environ: Mapping[str, str]
) -> Renderer:
    """JSON lines if asked for; the live display if stderr is a terminal that can move its cursor; else plain.

    ``quiet`` is plain, too, and so is a terminal that says it is ``dumb``, ``unknown`` or nothing (``$TERM``). Where stdout
    goes does not matter: with stdout in a pipe, the display is on the terminal and the jobs' output in the pipe.
    """
    if json:
        from manyhands.render.event_lines import JsonLines

        return JsonLines(stdout)
    if not quiet and stderr.isatty() and environ.get("TERM", "").lower() not in ("", "dumb", "unknown"):
        from manyhands.render.live import Live

        return Live(stdout, stderr, tag=tag, environ=environ)
    from manyhands.render.plain import Plain

    return Plain(stdout, stderr, tag=tag, quiet=quiet)
