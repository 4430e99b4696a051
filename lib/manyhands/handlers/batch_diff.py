"""What ``batch.diff`` does: compare two runs job by job, and say what differs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from json import dumps
from typing import Final

from manyhands.core.encoding import text_or_base64
from manyhands.core.safe_text import cells, one_line
from manyhands.handlers.batch_store import store
from manyhands.options.runs import DiffOptions
from manyhands.render.words import duration
from manyhands.report.run_diff import Comparison, Difference, Kind, Side
from manyhands.report.texts import input_text
from manyhands.storage.stage_journals import Journals

SCHEMA: Final = "manyhands.difference/1"
SUM_SCHEMA: Final = "manyhands.differences/1"
_FEW: Final = 20


def diff(options: DiffOptions) -> int:
    """Print the differences; returns the exit status: 1 if something failed anew."""
    kept = store(options.state_dir)
    before, after = kept.find(options.before), kept.find(options.after)
    with closing(Journals.open(before)) as old, closing(Journals.open(after)) as new:
        found = Comparison(old, new)
        if options.json:
            for one in found.differences():
                sys.stdout.write(dumps(_record(one)) + "\n")
            sys.stdout.write(dumps(_sums(found, before.id, after.id)) + "\n")
        else:
            for line in _lines(found, everything=options.all):
                sys.stdout.write(line + "\n")
    return 1 if found.counts[Kind.FAILED] else 0


def _record(one: Difference) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "kind": one.kind.value,
        **text_or_base64("input", b"\t".join(one.values)),
        "before": one.before and _of_side(one.before),
        "after": one.after and _of_side(one.after),
    }


def _of_side(side: Side) -> dict[str, object]:
    return {"job": side.job, "status": side.status, "how": side.how, "seconds": side.seconds}


def _sums(found: Comparison, before: str, after: str) -> dict[str, object]:
    return {
        "schema": SUM_SCHEMA,
        "before": before,
        "after": after,
        "both": found.both,
        "still_failing": found.still,
        "seconds_before": found.seconds[0],
        "seconds_after": found.seconds[1],
        "counts": {kind.value: count for kind, count in found.counts.items()},
    }


def _lines(found: Comparison, *, everything: bool) -> Iterator[str]:
    """Each kind under a headline, then the sum."""
    kept: dict[Kind, list[Difference]] = {kind: [] for kind in Kind}
    for one in found.differences():
        if everything or len(kept[one.kind]) < _FEW:
            kept[one.kind].append(one)
    width = shutil.get_terminal_size((120, 24)).columns
    for kind, some in kept.items():
        if some:
            yield f"{kind.value}: {found.counts[kind]:,}"
            yield from _rows(some, width)
            if (more := found.counts[kind] - len(some)) > 0:
                yield f"  ... and {more:,} more: --all lists them"
    yield _sum(found)


def _rows(some: list[Difference], width: int) -> Iterator[str]:
    told = [(f"job {(one.after or one.before or _NOBODY).job}", input_text(one.values, 60), _told(one)) for one in some]
    number = max(len(job) for job, _, _ in told)
    room = max(16, min(60, width - number - 6 - max(cells(what) for _, _, what in told)))
    names = [one_line(name, room) for _, name, _ in told]
    wide = max(map(cells, names))
    for (job, _, what), name in zip(told, names, strict=True):
        yield one_line(f"  {job:{number}}  {name}{' ' * (wide - cells(name))}  {what}", max(width, 20)).rstrip()


_NOBODY: Final = Side(0, None, "", 0.0)


def _told(one: Difference) -> str:
    """What has changed, in words."""
    if one.before is None or one.after is None:
        return ""
    if one.kind in (Kind.SLOWER, Kind.FASTER):
        old, new = one.before.seconds, one.after.seconds
        ratio = max(old, new) / max(min(old, new), 1e-9)
        return f"{duration(old)} -> {duration(new)}" + (f" ({ratio:,.1f}x)" if ratio < 1e6 else "")
    if one.kind is Kind.MENDED:
        return f"it {one.before.how}"
    if one.kind is Kind.OTHERWISE:
        return f"{one.after.how}; before: {one.before.how}"
    return one.after.how


def _sum(found: Comparison) -> str:
    parts = [f"{count:,} {kind.value}" for kind, count in found.counts.items() if count]
    text = f"{found.both:,} job{'' if found.both == 1 else 's'} in both: {', '.join(parts) or 'no difference'}"
    if found.still:
        text += f", {found.still:,} failed as before"
    old, new = found.seconds
    return text + (f"; those that are ok in both took {duration(old)}, then {duration(new)}" if old and new else "")
