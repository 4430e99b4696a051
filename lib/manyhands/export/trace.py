"""A run as a trace in Google's Trace Event Format, which Perfetto and chrome://tracing open.

    host   -> process
    slot   -> thread, one for each stage
    attempt -> complete event ("X"), its times in microseconds since the epoch, everything known of it in its arguments
    retry  -> flow ("s", "f") from the end of an attempt to the begin of the next one

It is written as it is read; the names of hosts and slots come before their first event.
"""

from __future__ import annotations

import socket
from json import dumps
from typing import Any, Final

from manyhands.core.encoding import known_signal
from manyhands.core.job import Outcome, Status
from manyhands.core.safe_text import one_line
from manyhands.export.job_record import RunJobs, Write
from manyhands.storage.rows import JobRecord

_NAME: Final = 100
_COLOURS: Final = {Status.OK: "good", Status.FAILED: "terrible", Status.TIMEOUT: "bad", Status.LOST: "bad"}
"""Of chrome://tracing; Perfetto has its own."""


def export(jobs: RunJobs, write: Write) -> None:
    """Write all attempts that have ended, by the numbers of their jobs, streamed."""
    _Trace(jobs, write).write_all()


class _Trace:
    """Which hosts and slots have been named; numbers are given in the order in which they come."""

    def __init__(self, jobs: RunJobs, write: Write) -> None:
        self._jobs, self._write = jobs, write
        self._hosts: dict[str, int] = {}
        self._threads: dict[tuple[str, int, int], int] = {}
        self._first = True
        self._flows = 0

    def write_all(self) -> None:
        """The whole document."""
        self._write(
            b'{"displayTimeUnit":"ms","otherData":' + dumps({"run": self._jobs.run}).encode() + b',"traceEvents":[\n'
        )
        for history in self._jobs.histories():
            before: tuple[dict[str, Any], int] | None = None
            for record in history:
                end = record.outcome
                if end is None or end.started is None:
                    continue
                place = self._place(record, end)
                event = _event(record, end, place)
                self._put(event)
                if before is not None and before[1] == record.stage:
                    self._flow(before[0], event)
                before = event, record.stage
        self._write(b"\n]}\n")

    def _put(self, event: dict[str, Any]) -> None:
        self._write((b"" if self._first else b",\n") + dumps(event, separators=(",", ":")).encode())
        self._first = False

    def _flow(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        self._flows += 1
        base = {"cat": "retry", "name": "retry", "id": self._flows}
        self._put(
            {
                "ph": "s",
                **base,
                "pid": before["pid"],
                "tid": before["tid"],
                "ts": before["ts"] + max(0, before["dur"] - 1),
            }
        )
        self._put({"ph": "f", "bp": "e", **base, "pid": after["pid"], "tid": after["tid"], "ts": after["ts"]})

    def _place(self, record: JobRecord, end: Outcome) -> dict[str, int]:
        """The process and the thread of an attempt."""
        host = end.host or ("elsewhere" if record.stage in self._jobs.elsewhere else socket.gethostname())
        if host not in self._hosts:
            self._hosts[host] = len(self._hosts) + 1
            self._name("process", {"pid": self._hosts[host]}, one_line(host, _NAME), self._hosts[host])
        pid, key = self._hosts[host], (host, record.stage, end.slot)
        if key not in self._threads:
            self._threads[key] = len(self._threads) + 1
            stage = f"stage {record.stage}, " if record.stage > 1 else ""
            order = 10_000 * record.stage + end.slot
            self._name("thread", {"pid": pid, "tid": self._threads[key]}, f"{stage}slot {end.slot}", order)
        return {"pid": pid, "tid": self._threads[key]}

    def _name(self, kind: str, place: dict[str, int], name: str, order: int) -> None:
        self._put({"ph": "M", "name": f"{kind}_name", **place, "args": {"name": name}})
        self._put({"ph": "M", "name": f"{kind}_sort_index", **place, "args": {"sort_index": order}})


def _event(record: JobRecord, end: Outcome, place: dict[str, int]) -> dict[str, Any]:
    begin = round((end.started or 0.0) * 1e6)
    name = one_line(b" ".join(record.job.values), _NAME)
    again = f" (attempt {record.attempt})" if record.attempt > 1 else ""
    arguments = {
        "job": record.job.number,
        "attempt": record.attempt,
        "stage": record.stage,
        "status": end.status.value,
        "exit": end.exit,
        "signal": known_signal(end.signal),
        "error": one_line(end.error, 400) if end.error else None,
        "user_seconds": end.user,
        "system_seconds": end.system,
        "max_rss_bytes": end.max_rss or None,
        "stdout_size": end.stdout.size,
        "stderr_size": end.stderr.size,
    }
    colour = _COLOURS.get(end.status)
    return {
        "ph": "X",
        "name": (name or f"job {record.job.number}") + again,
        "cat": end.status.value,
        **place,
        "ts": begin,
        "dur": max(0, round(((end.started or 0.0) + end.wall) * 1e6) - begin),
        **({"cname": colour} if colour else {}),
        "args": {key: value for key, value in arguments.items() if value is not None},
    }
