"""One job in full, and a page of a run's jobs: read when somebody asks, harmless, and bounded whatever a job has printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Outcome, Output
from manyhands.core.safe_text import harmless, one_line
from manyhands.core.serialization import description, is_pickle
from manyhands.render.summary import describe, left_behind
from manyhands.storage.rows import JobRecord
from manyhands.storage.runs import Run
from manyhands.storage.stage_journals import Journals
from manyhands.web.follower import Follower

PAGE: Final = 100
TAIL: Final = 1 << 16
"""Bytes of a stream's end that are shown."""
_LINE: Final = 4000
"""Characters of a line that are shown: a browser lays out long lines slowly."""
_INPUT: Final = 1 << 13
CHOICES: Final = {
    "all": frozenset({"left", "ok", "failed", "timeout", "skipped", "lost", "cancelled"}),
    "failed": frozenset({"failed", "timeout", "lost"}),
    "ok": frozenset({"ok"}),
    "left": frozenset({"left", "cancelled", "lost"}),
    "skipped": frozenset({"skipped"}),
}


def one_job(follower: Follower, number: int) -> dict[str, Any] | None:
    """All about a job; None if the run has none of this number that has begun. Raises JournalError."""
    with closing(Journals.open(follower.run)) as journals:
        parts = [*journals.parts(number)]
    if not parts:
        return None
    record, attempts = parts[-1]
    going = follower.going(number)
    outputs: tuple[Output, Output] | None = None
    if going is not None:
        run, now = going
        outputs = now.printed(run.outputs)
    elif record.outcome is not None:
        outputs = record.outcome.stdout, record.outcome.stderr
    shown = [_printed(one) for one in outputs] if outputs else [None, None]
    if going is not None and not going[1].may_run:
        shown = [None, None]  # it has ended meanwhile, and another may have begun in its slot
    return {
        "job": number,
        "input": _cut(harmless(b" ".join(record.job.values)[:_INPUT]), sum(map(len, record.job.values)) > _INPUT),
        "attempts": [_attempt(part, one) for part, ended in parts for one in ended],
        "running": None if going is None else {"attempt": going[1].attempt, "since": going[1].since, "pid": going[1].pid},
        "state": "running" if going else _state(record),
        "result": _result(record.outcome),
        "stdout": shown[0],
        "stderr": shown[1],
        "traceback": harmless(record.outcome.traceback or "")[-TAIL:] if record.outcome else "",
        "several_stages": len(follower.run.stages) > 1,
        "attempts_at": len(attempts),
    }


def _attempt(part: JobRecord, one: Outcome) -> dict[str, Any]:
    return {
        "stage": part.stage,
        "attempt": one.attempt.number,
        "status": str(one.status),
        "how": describe(one),
        "left_behind": left_behind(one),
        "started": one.started,
        "wall": one.wall,
        "cpu": one.user + one.system,
        "max_rss": one.max_rss,
        "slot": one.slot,
        "host": one_line(one.host, 200) if one.host else None,
    }


def jobs(run: Run, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each of these jobs. Raises JournalError."""
    with closing(Journals.open(run)) as journals:
        return [_row(record) for record in map(journals.record, numbers) if record]


def _row(record: JobRecord) -> dict[str, Any]:
    end = record.outcome
    return {
        "job": record.job.number,
        "state": _state(record),
        "how": "" if end is None or end.ok else describe(end),
        "tries": record.attempt,
        "wall": None if end is None else end.wall,
        "max_rss": None if end is None else end.max_rss,
        "host": one_line(end.host, 60) if end and end.host else None,
        "input": one_line(b" ".join(record.job.values), 200),
    }


def _state(record: JobRecord) -> str:
    return "left" if record.outcome is None or not record.outcome.final else str(record.outcome.status)


def _result(outcome: Outcome | None) -> str | None:
    """What a function returned, if that is JSON; a pickle is named and not read."""
    if outcome is None or outcome.result is None or not outcome.ok:
        return None
    found = outcome.result
    return harmless(description(found) if is_pickle(found) else found[: _INPUT + 1].decode("utf-8", "replace"))[:_INPUT]


def _printed(stream: Output) -> dict[str, Any] | None:
    """The end of a stream as text of bounded size, in lines of bounded length."""
    if not stream.size:
        return None
    found: dict[str, Any] = {"size": stream.size, "dropped": stream.dropped, "text": "", "cut": False, "problem": None}
    try:
        data, size = _end_of(stream)
    except (ManyhandsError, OSError) as error:
        return found | {"problem": one_line(str(error), 500)}
    text = harmless(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))  # each state of a progress bar is a line
    lines = [*_short(text.split("\n"))]
    return found | {"text": "\n".join(lines), "cut": size > len(data)}


def _end_of(stream: Output) -> tuple[bytes, int]:
    """(its last bytes, how many there are)."""
    if stream.path is None:
        return stream.data[-TAIL:], len(stream.data)
    import os

    from manyhands.core.kept_file import opened

    with opened(stream.path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - TAIL))
        return file.read(TAIL), size


def _short(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield _cut(line[:_LINE], len(line) > _LINE)


def _cut(text: str, more: bool) -> str:
    return text + " …" * more
