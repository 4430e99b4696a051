"""What was asked of a run becomes a plan: in one way, for the tasks and for programs.

    Execution (options), works, source --plan_of--> Plan

What only one of them has, they put in themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as
from manyhands.core.limits import Backoff, Halt, Limits, RetryOn, parse_duration, parse_jobs, parse_size, parse_timeout
from manyhands.options.batch import Execution
from manyhands.options.choices import Order
from manyhands.posix.cores import usable_cores
from manyhands.work.plan import Plan, Stage, for_stages
from manyhands.work.work import Work


def plan_of(
    options: Execution,
    works: Sequence[Work],
    source: dict[str, Any],
    workdir: str,
    *,
    backend: str,
    keep_order: bool,
) -> Plan:
    """The plan for ``works``, one for each stage. Raises UsageError."""
    work, *further = works
    if options.order not in get_args(Order):
        raise UsageError(f"{given_as('--order', repr(options.order))}: choose one of {', '.join(get_args(Order))}")
    jobs, backends = for_stages("--jobs", str(options.jobs), len(works)), for_stages("--backend", backend, len(works))
    cores = usable_cores()
    then = tuple(
        Stage(one, parse_jobs(j, cores), b, j.strip() == "auto")
        for one, j, b in zip(further, jobs[1:], backends[1:], strict=True)
    )
    limits = _limits(options, jobs[0], cores, keep_order=keep_order)
    return Plan(
        work=work,
        source=source,
        limits=limits,
        workdir=workdir,
        backend=backends[0],
        then=then,
        nice=options.nice,
        order=options.order,
    )


def check_group(options: Execution) -> None:
    """Raise UsageError for jobs of no inputs, before anything is made of it."""
    if options.max_args is not None and options.max_args < 1:
        raise UsageError(f"{given_as('--max-args', options.max_args)}: a job has one input at least")


def _limits(options: Execution, jobs: str, cores: int, *, keep_order: bool) -> Limits:
    return Limits(
        jobs=parse_jobs(jobs, cores),
        climb=jobs.strip() == "auto",
        timeout=parse_timeout(options.timeout),
        grace=parse_duration(options.grace, "--grace"),
        retries=options.retries,
        delay=parse_duration(options.delay, "--delay"),
        backoff=Backoff.parse(options.backoff),
        halt=Halt.parse(options.halt),
        keep_order=keep_order,
        output_cap=parse_size(options.output_cap, "--output-cap") if options.output_cap is not None else None,
        retry_on=RetryOn.parse(options.retry_on) if options.retry_on is not None else None,
    )
