"""What ``batch.remove`` does: show which runs would go and how much they hold, ask, delete them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from manyhands.core.errors import JournalError, UsageError
from manyhands.core.hints import typed
from manyhands.core.limits import parse_duration
from manyhands.core.safe_text import one_line
from manyhands.handlers.confirm import agreed
from manyhands.options.runs import RemoveOptions
from manyhands.render.words import size, span
from manyhands.storage.runs import Run, Store, is_busy, lock
from manyhands.work.submitted import Submitted


def remove(found: Store, options: RemoveOptions) -> int:
    """Delete runs, and say which. 0: all of them are gone, or there were none; 1: nobody agreed."""
    names, older_than = options.runs, options.older_than
    if bool(names) == (older_than is not None):
        raise UsageError("batch.remove: name runs, or give --older-than, but not both")
    if older_than is None:
        doomed, text = list({run.id: run for run in map(found.find, names)}.values()), ""
        for one in doomed:
            lock(one).close()  # before anybody is asked: one that is at work is not removed
    else:
        seconds = parse_duration(older_than, "--older-than")
        limit, text = time.time() - seconds, f" older than {span(seconds)}"
        doomed = [one for one in found.all() if one.created < limit and not is_busy(one)]
    if not doomed:
        sys.stderr.write(f"there are no runs{text}\n")
        return 0
    whole = f"{len(doomed)} run{'' if len(doomed) == 1 else 's'}{text} ({size(sum(run.size for run in doomed))})"
    if options.dry_run:
        sys.stdout.writelines(f"would remove {line}\n" for line in _lines(doomed))
        sys.stderr.write(f"this would be {whole}; nothing was removed\n")
        return 0
    if not agreed(f"remove {whole}", _lines(doomed), yes=options.yes):
        sys.stderr.write("nothing was removed\n")
        return 1
    for one in doomed:
        found.remove(one)
        sys.stdout.write(f"removed {one.id}\n")
    return 0


def _lines(doomed: Sequence[Run]) -> Iterator[str]:
    for one in doomed:
        when = datetime.fromtimestamp(one.created).strftime("%Y-%m-%d %H:%M")
        yield f"{one.id}  {when}  {size(one.size)}  {one_line(str(one.record.get('template')), 60)}{_elsewhere(one)}"


def _elsewhere(run: Run) -> str:
    """What becomes of jobs that are in a queue: a run that is removed cannot take them along, because its broker may not answer."""
    try:
        there = Submitted.of(run.record)
    except JournalError:
        return ""
    return f"; its jobs go on in a queue: {typed('queue.purge', there.name)} removes those that wait" if there else ""
