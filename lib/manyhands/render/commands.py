"""How commands ended, in words and as records for JSON: what the ``cmd`` tasks print beside the commands' own output.

Records have the keys of `manyhands.export.job_record` where they mean the same: seconds, bytes, ISO 8601 times, ``..._base64`` beside
text that is not UTF-8.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from manyhands.commands.command_tree import Completed
from manyhands.commands.compare_tools import Compared
from manyhands.commands.pipeline import PipelineResult
from manyhands.commands.retry import Look, Try
from manyhands.core.encoding import argv_or_base64, iso, known_signal, text_or_base64
from manyhands.core.extras import install_line
from manyhands.core.safe_text import harmless, one_line
from manyhands.render.words import duration, signal_name, size
from manyhands.work.template import display


def told(end: Completed) -> str:
    """How a command ended, as the end of the sentence "grep x ..."."""
    if end.timed_out:
        return f"was stopped after {duration(end.wall)}"
    if end.error:
        return harmless(end.error)
    if end.signal is not None:
        return f"was ended by {signal_name(end.signal)}"
    return "ended well" if end.exit == 0 else f"failed with exit status {end.exit}"


def command_text(end: Completed) -> str:
    """A command as it could be typed, harmless, on one line."""
    return one_line(display(tuple(os.fsencode(word) for word in end.argv)), 200)


def stage_lines(result: PipelineResult) -> Iterator[str]:
    """A line for each stage, for stderr; one for a command that is not part of a chain."""
    if len(result.stages) == 1:
        end = result.stages[0]
        yield f"manyhands: {told(end) if end.error else f'{command_text(end)} {told(end)}'}"
        return
    bad = sum(not result.is_fine(place) for place in range(len(result.stages)))
    yield f"manyhands: {f'{bad} of {len(result.stages)} stages failed' if bad else 'every stage ended well'}"
    for place, end in enumerate(result.stages):
        enough = "; fine: the next one had enough" if result.is_fine(place) and not end.ok else ""
        used = (
            f" ({duration(end.wall)}, {duration(end.user + end.system)} of CPU, at most {size(end.max_rss)})"
            if end.pid
            else ""
        )
        yield f"  {place + 1}  {command_text(end)}  {told(end)}{enough}{used}"


def try_line(one: Try, times: int) -> str:
    """``try 2 of 5 failed with exit status 1; again in 2.0 s``."""
    failed = [end for place, end in enumerate(one.result.stages) if not one.result.is_fine(place)]
    again = f"; again in {duration(one.wait)}" if one.wait is not None else ""
    return f"try {one.number} of {times} {told(failed[-1])}{again}"


def command_record(end: Completed, schema: str) -> dict[str, Any]:
    """One command as a JSON object."""
    return {
        "schema": schema,
        **argv_or_base64([os.fsencode(word) for word in end.argv]),
        "pid": end.pid,
        "status": end.returncode,
        "exit": end.exit,
        "signal": end.signal,
        "signal_name": known_signal(end.signal),
        "error": end.error,
        "timed_out": end.timed_out,
        "started": iso(end.started),
        "wall": end.wall,
        "user": end.user,
        "system": end.system,
        "max_rss_bytes": end.max_rss,
    }


def printed_record(name: str, data: bytes) -> dict[str, Any]:
    """What was printed, as text, and exactly beside it if it is not UTF-8."""
    return text_or_base64(name, data)


def pipeline_record(result: PipelineResult) -> dict[str, Any]:
    """A chain as a JSON object, with a list of its stages."""
    stages = []
    for place, end in enumerate(result.stages):
        stage = command_record(end, "") | {"fine": result.is_fine(place)}
        del stage["schema"]
        stages.append(stage)
    return {
        "schema": "manyhands.pipeline/1",
        "status": result.returncode,
        "timed_out": result.timed_out,
        "wall": result.wall,
        "stages": stages,
        **text_or_base64("stdout", result.stdout or b""),
    }


def look_record(look: Look) -> dict[str, Any]:
    """One look of a watch as a JSON object."""
    return {
        "schema": "manyhands.look/1",
        "look": look.number,
        "at": iso(look.at),
        "status": look.result.returncode,
        "changed": look.changed,
        "met": look.met,
        **text_or_base64("output", look.output),
    }


def comparison_lines(found: Sequence[Compared], rounds: int) -> Iterator[str]:
    """A table: the way, its median time, the ratio to the first, whether it gave the same."""
    first = next((one.seconds for one in found if one.seconds), None)
    yield f"{'way':11} {'median':>10} {'ratio':>6}  result (medians of {rounds} rounds, in turns)"
    for one in found:
        if one.extra:
            yield f"{one.way:11} {'-':>10} {'-':>6}  not installed"
        elif one.error or one.answer is None or one.seconds is None:
            yield f"{one.way:11} {'-':>10} {'-':>6}  {one_line(one.error or 'nothing', 50)}"
        else:
            status, printed = one.answer
            what = f"status {status}, {len(printed):,} bytes"
            ratio = one.seconds / first if first else 1.0
            verdict = what if one.same else f"{what}: not the same"
            yield f"{one.way:11} {one.seconds * 1000:7.1f} ms {ratio:6.2f}  {verdict}"
    if extra := next((one.extra for one in found if one.extra), None):
        yield f"to compare those, too: {install_line(extra)}"
