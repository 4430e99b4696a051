"""What ``queue.submit`` and ``queue.submit-call`` do: all jobs of a batch into a queue, and the command that collects them."""

from __future__ import annotations

import sys
import time

from manyhands.core.errors import UsageError
from manyhands.core.safe_text import harmless
from manyhands.execution.open_run import new_run
from manyhands.execution.submission import Submission
from manyhands.handlers.batch import dry_run
from manyhands.handlers.batch_options import nothing_to_run, plan_of
from manyhands.handlers.batch_store import store
from manyhands.options.batch import CommandOptions, FunctionOptions
from manyhands.options.declaration import declared_in
from manyhands.options.queue import SubmitCallOptions, Submitting
from manyhands.storage.expiry import expire, parse_keep
from manyhands.storage.runs import Store
from manyhands.work.queue_kinds import is_queue
from manyhands.work.submitted import parse_keep_in_broker


def submit(options: Submitting) -> int:
    """Give the jobs to the queue; returns the exit status: 0, or 1 if the inputs could not be read to their end."""
    _check(options)
    keep = parse_keep_in_broker(options.keep_in_broker)
    plan, stream = plan_of(_as_for_batch(options))
    if options.dry_run:
        return dry_run(plan, stream, fail_if_empty=False)
    kept = store(options.state_dir)
    if options.run_id and kept.get(options.run_id):
        resume = kept.typed("batch.resume", options.run_id)
        raise UsageError(f"run {options.run_id} exists: {resume} continues it; choose another --run-id for a new one")
    if (said := expire(kept, parse_keep(options.keep), time.time())) and not options.quiet:
        sys.stderr.write(f"manyhands: {said}\n")
    submission = Submission(new_run(plan, kept, run_id=options.run_id, stream=stream), keep)
    try:
        done = submission.carry_out()
    except KeyboardInterrupt:
        sys.stderr.write(f"manyhands: interrupted; {_so_far(submission, kept)}\n")
        raise
    if not done.jobs and not done.error:
        return nothing_to_run(fail_if_empty=False)
    if done.error:
        sys.stderr.write(f"manyhands: {harmless(str(done.error))}; {_so_far(submission, kept)}\n")
        return done.error.exit_code if not isinstance(done.error, UsageError) else 1
    where = plan.broker.url.url if plan.broker else ""
    sys.stdout.write(
        f"submitted {submission.run.id}: {_jobs(done.jobs)}, at {where}; to collect: {_collects(submission, kept)}\n"
    )
    return 0


def _check(options: Submitting) -> None:
    if is_queue(options.backend) and options.backend != "redis":
        raise UsageError(
            f"--backend {options.backend}: only redis (Streams) keeps what was reported until somebody asks for it: leave it out"
        )
    if options.backend != "redis":
        raise UsageError(f"--backend {options.backend!r}: jobs are submitted to a queue, which is redis")
    if options.broker is None:
        task = "queue.submit-call" if isinstance(options, SubmitCallOptions) else "queue.submit"
        raise UsageError(f"{task} needs a broker: give --broker redis://HOST:PORT/DB")


def _as_for_batch(options: Submitting) -> CommandOptions | FunctionOptions:
    """The same request as one for ``batch`` or ``batch.call`` with ``--backend redis``."""
    kind = FunctionOptions if isinstance(options, SubmitCallOptions) else CommandOptions
    known = {one.name for one in declared_in(kind)} | {"rest"}
    return kind(**{name: value for name, value in vars(options).items() if name in known})


def _so_far(submission: Submission, kept: Store) -> str:
    return (
        f"run {submission.run.id} has {_jobs(submission.sent)} in the queue; {_collects(submission, kept)} does the rest"
    )


def _collects(submission: Submission, kept: Store) -> str:
    return kept.typed("batch.resume", kept.short(submission.run))


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"
