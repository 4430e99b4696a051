"""What ``batch.call --no-journal`` does: a function as a filter, inputs in and results out, with nothing written down."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from json import dumps, loads
from pathlib import Path
from typing import Any, Final

from manyhands.api.map_batch import Found, done_of
from manyhands.core.errors import InputError, UsageError
from manyhands.core.events import Summary
from manyhands.core.job import Attempt, Ending, Job, Outcome, Output, Status, Values
from manyhands.core.records import replace
from manyhands.core.safe_text import harmless
from manyhands.handlers.batch_options import call_of, nothing_to_run, plan_of
from manyhands.inputs.grouping import in_groups
from manyhands.inputs.sources import open_source
from manyhands.options.batch import FunctionOptions
from manyhands.render.returned import Raised
from manyhands.render.stream import Stream
from manyhands.render.summary import describe, name_of, summary_line
from manyhands.work.chunks import Done
from manyhands.work.work import BoundWork

_JOURNALED: Final = (
    "then",
    "retries",
    "retry_on",
    "timeout",
    "delay",
    "halt",
    "order",
    "backend",
    "run_id",
    "shard",
    "times",
    "retry_failed",
    "keep",
    "tag",
    "output_cap",
    "dry_run",
    "junit",
    "ci",
    "output",
    "line_buffer",
    "joblog",
    "results",
    "notify",
    "background",
    "max_jobs_per_worker",
)
"""What only a run with a journal has."""
_SAYS_NOTHING: Final = (None, b"null")
_NOBODY: Final = Job(0, b"", ())


def call_unjournaled(options: FunctionOptions) -> int:
    """Print what the function returns, a line of JSON for each input; returns the exit status. Raises UsageError first."""
    given = options.given()
    if name := next((one for one in _JOURNALED if one in given), None):
        raise UsageError(f"--no-journal: --{name.replace('_', '-')} needs the journal; leave one of the two out")
    if options.result not in ("json", "none"):
        raise UsageError(f"--no-journal prints JSON: choose --result json or none, not {options.result}")
    plan, stream = plan_of(options)
    if plan.limits.climb:
        raise UsageError("--no-journal: --jobs auto needs the journal's measurements; give a number")
    source = open_source(plan.source, stream=None if stream is None else os.fdopen(os.dup(stream), "rb"))
    renderer = plan.work.bind(source.columns, width=source.width)
    call = replace(call_of(options), chunked=True, group=plan.max_args)
    call.check()
    teller = _Teller(renderer, json=options.json)
    environment = dict(os.environb) | {os.fsencode(k): os.fsencode(v) for k, v in plan.environment.items()}
    found = done_of(
        call,
        _checked(in_groups(source, plan.max_args) if plan.max_args else source, renderer.key),
        plan.limits.jobs,
        plan.workers,
        ordered=options.keep_order,
        columns=source.columns,
        printed=teller.printed,
        environment=environment,
        workdir=Path(plan.workdir),
        nice=plan.nice,
        grace=plan.limits.grace,
    )
    began = time.monotonic()
    error = _tell_all(found, teller)
    if not teller.jobs:
        return nothing_to_run(fail_if_empty=options.fail_if_empty)
    counts = {Status.OK: teller.jobs - teller.failed, Status.FAILED: teller.failed}
    if not options.quiet and not options.json:
        told = {k: v for k, v in counts.items() if v or k is Status.OK}
        summary = Summary("", told, 0, error is not None, time.monotonic() - began, 0.0)
        sys.stderr.write(summary_line(summary) + "\n")
    if error is not None:
        sys.stderr.write(f"manyhands: {harmless(str(error))}; mend it, and run all again: nothing has been recorded\n")
    return 1 if teller.failed or error else 0


def _tell_all(found: Found, teller: _Teller) -> InputError | None:
    """Tell what comes of the jobs; returns what ended the inputs early. Raises it if it is their beginning."""
    try:
        with closing(found):
            for first, inputs, done in found:
                teller.tell(first, inputs, done)
                teller.flush()  # a chunk is some 20 ms of work, or what a slow producer gave: nobody should wait for more
    except InputError as error:
        if not teller.jobs:
            raise
        return error
    finally:
        teller.close()
    return None


def _checked(source: Any, check: Any) -> Iterator[Values]:
    """The inputs; the first of them shows whether the function can take it."""
    for number, values in enumerate(source):
        if not number:
            check(values)
        yield values


class _Teller:
    """Says what comes of the jobs: results on stdout, failures on stderr, or everything as JSON lines on stdout."""

    def __init__(self, renderer: BoundWork, *, json: bool) -> None:
        self.jobs = self.failed = 0
        self._renderer, self._json = renderer, json
        streams = (sys.stdout.buffer, sys.stderr.buffer)
        self._out, self._err = (Stream(one, tag=False, clock=time.monotonic) for one in streams)
        self._raised = Raised()

    def printed(self, out: Output, err: Output) -> None:
        """What a chunk of jobs has printed; beside JSON lines there is room for it on stderr only."""
        for stream, printed in ((self._err if self._json else self._out, out), (self._err, err)):
            if printed.size:
                stream.show(printed, _NOBODY)
                if printed.path:
                    os.unlink(printed.path)

    def tell(self, first: int, inputs: list[Values], done: Done) -> None:
        """All of one chunk."""
        self.jobs += len(inputs)
        failures = {one.place: one for one in done.failures}
        if not failures and not self._json:
            self._out.write(b"".join([line + b"\n" for line in done.results if line not in _SAYS_NOTHING]))
            return
        for index, values in enumerate(inputs):
            job = Job(first + index, b"", values)
            failure = failures.get(index)
            attempt = Attempt(job, 1, self._renderer.argv(values, job.number))
            if failure:
                self._failure(
                    Outcome(attempt, Status.FAILED, Ending(1, error=failure.error, traceback=failure.traceback))
                )
            elif self._json:
                self._line(job, {"status": "ok", "result": loads(done.results[index] or b"null")})
            elif done.results[index] not in _SAYS_NOTHING:
                self._out.write(done.results[index] + b"\n")

    def flush(self) -> None:
        """Hold nothing back."""
        self._out.flush()
        self._err.flush()

    def close(self) -> None:
        """Say how often each error came, and hold nothing back."""
        for line in self._raised.told():
            self._err.write(line.encode() + b"\n")
        self.flush()

    def _failure(self, outcome: Outcome) -> None:
        self.failed += 1
        if self._json:
            told = {"status": "failed", "error": outcome.error, "traceback": outcome.traceback}
            self._line(outcome.attempt.job, told)
            return
        self._out.flush()
        name = name_of(outcome.attempt, 60)
        lines = [f"manyhands: job {outcome.attempt.job.number} {describe(outcome)}: {name}"]
        self._err.write("".join(f"{line}\n" for line in [*lines, *self._raised.traceback(outcome)]).encode())
        self._err.flush()

    def _line(self, job: Job, told: dict[str, Any]) -> None:
        given = [os.fsdecode(value) for value in job.values]
        self._out.write(
            dumps({"schema": "manyhands.result/1", "job": job.number, "input": given, **told}).encode() + b"\n"
        )
