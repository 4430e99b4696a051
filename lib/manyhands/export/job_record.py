"""A job of a run as a record for other programs: the keys that ``--json``, JSON lines and CSV share.

Bytes that are not UTF-8 are never lost: a second key, ``..._base64``, then holds the exact bytes, and the text shows U+FFFD
for them in JSON, ``\\xNN`` in CSV. A job that has not ended has the status null. Output that is too large, or whose file is gone, is
null, with its file in ``..._path``. Times are ISO 8601 with the local offset (RFC 3339), durations float seconds, sizes bytes;
``..._size`` is what was written and ``..._dropped`` how much of that the output cap cut.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from manyhands.core.encoding import argv_or_base64, iso, known_signal, text_or_base64
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Job, Outcome, Output, Status
from manyhands.core.records import dataclass
from manyhands.core.serialization import shown
from manyhands.storage.journal import Journal
from manyhands.storage.rows import JobRecord
from manyhands.storage.stage_journals import Journals

SCHEMA: Final = "manyhands.job/1"
Argv = Callable[[JobRecord], Sequence[bytes]]
"""The command of a job, on the slot that it had."""
Write = Callable[[bytes], object]
"""Writes a piece of an export."""


@dataclass(frozen=True)
class RunJobs:
    """The jobs of one run, for an exporter."""

    journal: Journal | Journals
    run: str
    argv: Argv
    shell: bool = False
    """Whether the last argument is a script."""
    columns: Sequence[str] = ()
    """The names of the inputs' columns, if they have any."""
    elsewhere: Collection[int] = ()
    """The stages whose attempts were made elsewhere."""

    def records(self) -> Iterator[tuple[JobRecord, dict[str, Any]]]:
        """Each job and its `job_record`, by number, including jobs that have not ended; output whose file was removed is given by
        the file's name."""
        for found in self.journal.records():
            yield (
                found,
                job_record(
                    found.job,
                    found.outcome,
                    run=self.run,
                    argv=self.argv(found),
                    attempts=found.attempt,
                    gone_ok=True,
                    stage=found.stage,
                    elsewhere=found.stage in self.elsewhere,
                ),
            )

    def histories(self) -> Iterator[list[JobRecord]]:
        """Each job with all its attempts, see `Journals.histories`."""
        return (self.journal if isinstance(self.journal, Journals) else Journals([self.journal])).histories()


def job_record(
    job: Job,
    outcome: Outcome | None,
    *,
    run: str,
    argv: Sequence[bytes],
    attempts: int,
    inline: int | None = None,
    gone_ok: bool = False,
    stage: int = 1,
    elsewhere: bool = False,
) -> dict[str, Any]:
    """One job as a JSON object. ``outcome`` None: it has not ended, and its status is null. ``elsewhere``: if no host is known, it
    is not this machine.

    For output of more than ``inline`` bytes, the file's name is given instead, if it has a file. Raises ManyhandsError for output
    whose file was removed, unless ``gone_ok``: then the file's name is given, too.
    """
    end = outcome or _NOT_ENDED
    return {
        "schema": SCHEMA,
        "run": run,
        "job": job.number,
        **text_or_base64("input", b"\t".join(job.values)),
        **argv_or_base64(argv),
        "status": end.status.value if outcome else None,
        "exit": end.exit,
        **_signal(end.signal),
        "error": end.error,
        "attempts": attempts,
        "started": iso(end.started),
        "wall": end.wall,
        "user": end.user,
        "system": end.system,
        "max_rss_bytes": end.max_rss or None,
        **_printed("stdout", end.stdout, inline, gone_ok),
        **_printed("stderr", end.stderr, inline, gone_ok),
        **_sizes("stdout", end.stdout),
        **_sizes("stderr", end.stderr),
        "slot": end.slot,
        "host": end.host or (None if elsewhere else socket.gethostname()),
        "leftovers": end.leftovers,
        **_result(end),
        "traceback": end.traceback,
        "stage": stage,
    }


def _signal(number: int | None) -> dict[str, Any]:
    return {"signal": number, "signal_name": known_signal(number)}


def _result(end: Outcome) -> dict[str, Any]:
    """The value that a function returned; a pickle is not read, but described."""
    value, text = shown(end.result) if end.ok else (None, None)
    return {"result": value} if text is None else {"result": None, "result_repr": text}


def _sizes(name: str, printed: Output) -> dict[str, int]:
    return {f"{name}_size": printed.size, f"{name}_dropped": printed.dropped}


def _printed(name: str, printed: Output, inline: int | None, gone_ok: bool) -> dict[str, Any]:
    place = {name: None, f"{name}_path": printed.path}
    if printed.path and inline is not None and printed.size - printed.dropped > inline:
        return place
    try:
        return text_or_base64(name, printed.read())
    except ManyhandsError:
        if gone_ok:
            return place
        raise


_NOT_ENDED: Final = Outcome(Attempt(Job(0, b"", ()), 0, ()), Status.LOST)
