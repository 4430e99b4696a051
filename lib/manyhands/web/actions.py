"""What the buttons do: a running coordinator is asked over its control socket; a retry or a resume is a program of its own.

Nothing else can be started. The run is named by its id, the command, the folder and the environment are those that its run.json has, and
nothing that the browser sends becomes an argument but a number of jobs that was checked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from manyhands.control import client
from manyhands.core.errors import UsageError
from manyhands.core.limits import MAX_JOBS
from manyhands.core.safe_text import one_line
from manyhands.storage.runs import Run, Store, is_busy

AGAIN: Final = ("retry", "resume")
_LAST: Final = 10**12
_STAGES: Final = 100
_SOON: Final = 3.0
"""Seconds in which a retry that cannot begin says so."""
_READ: Final = 2000
_OURS: Final = (sys.executable, "-P", "-m", "manyhands")
"""-P: no module of the run's folder stands for one of ours."""


def request_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a coordinator is asked, from what a page has sent: checked, and nothing else. Raises UsageError."""
    match body:
        case {"do": "pause" | "continue" as do}:
            return {"do": do}
        case {"do": "stop", "job": job}:
            return {"do": "stop", "job": _number("job", job, _LAST)}
        case {"do": "stop", "how": "soon" | "term" | "now" as how}:
            return {"do": "stop", "how": how}
        case {"do": "stop"}:
            raise UsageError("stop: expected how=soon, term or now, or the number of a job")
        case {"do": "set", "jobs": [*jobs]} if 1 <= len(jobs) <= _STAGES:
            return {"do": "set", "jobs": [_number("jobs", one, MAX_JOBS) for one in jobs]}
        case _:
            raise UsageError("expected one of stop, pause, continue, set, retry, resume")


def _number(name: str, value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise UsageError(f"{name}: expected a whole number from 1 to {most:,}")
    return value


def again(store: Store, run: Run, do: str) -> None:
    """Start ``manyhands batch.retry RUN`` or ``batch.resume RUN`` as a process that outlives this one. Raises UsageError with what it
    said, if it ends at once without success."""
    if do not in AGAIN:
        raise UsageError(f"expected one of {', '.join(AGAIN)}")
    if is_busy(run):
        raise UsageError(f"run {run.id} is going on: wait for its end, or stop it first")
    folder = str(run.record["workdir"])
    there = folder if not run.record.get("on") and not run.record.get("broker") and not run.record.get("cluster") else "/"
    if not os.path.isdir(there):
        raise UsageError(f"run {run.id}: its folder {one_line(there, 300)} is not there")
    with tempfile.TemporaryFile() as said:  # has no name, and goes when the last process has closed it
        process = subprocess.Popen(
            [*_OURS, f"batch.{do}", run.id, "--quiet", "--output", "none", "--state-dir", str(store.state)],
            cwd=there,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        _look_after(process, said, run)


def _look_after(process: subprocess.Popen[bytes], said: BinaryIO, run: Run) -> None:
    """Wait until it works on the run, has ended, or some seconds are over."""
    from threading import Thread

    Thread(target=process.wait, name="manyhands-web-child", daemon=True).start()  # so that no zombie stays
    from time import monotonic, sleep

    deadline = monotonic() + _SOON
    while monotonic() < deadline and process.returncode is None and not is_busy(run):
        sleep(0.05)
    if process.returncode in (2, 69, 73, 74, 75):  # it has refused, see `manyhands.core.errors`
        said.seek(0)
        lines = said.read(_READ).decode("utf-8", "replace").strip().splitlines()
        raise UsageError(one_line(lines[-1], 500) if lines else f"it ended with status {process.returncode}")


def control(run: Run, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the coordinator of a run that goes on. Raises ManyhandsError with one line if it refuses, or there is none."""
    return client.ask(run, request_of(body))
