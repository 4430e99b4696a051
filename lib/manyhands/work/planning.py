"""What was asked of a run becomes a plan: in one way, for the tasks and for programs.

    Execution (options), works, source --plan_of--> Plan

What only one of them has, they put in themselves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name
from manyhands.core.limits import Backoff, Halt, Limits, RetryOn, parse_duration, parse_jobs, parse_size, parse_timeout
from manyhands.core.records import replace
from manyhands.options.batch import Commands, Execution
from manyhands.options.choices import Order
from manyhands.posix.cores import usable_cores
from manyhands.work.host_files import Files
from manyhands.work.host_list import HostName
from manyhands.work.plan import Plan, Stage, for_stages
from manyhands.work.queue_kinds import is_elsewhere, is_queue
from manyhands.work.template import Template
from manyhands.work.work import Work

if TYPE_CHECKING:
    from manyhands.work.broker_url import Broker
    from manyhands.work.cluster_address import Cluster

_IN_QUEUE: Final = 1024
"""Jobs that are in a queue at once, if there are to be as many as its consumers, or the workers of a cluster, have slots, who come and go."""
EVERY_SLOT: Final = 1 << 20
"""Slots, if there are to be as many as the hosts have, which is known later."""


def plan_of(
    options: Execution,
    works: Sequence[Work],
    source: dict[str, Any],
    workdir: str,
    *,
    backend: str,
    keep_order: bool,
    on: Sequence[HostName] = (),
    on_each: bool = False,
) -> Plan:
    """The plan for ``works``, one for each stage; ``on``: the hosts that run them, if it is not this one; ``on_each``: every host does
    each input. Raises UsageError."""
    if on:
        _check_for_hosts(str(options.jobs), backend, "--on-each" if on_each else "--on")
        backend = "ssh"
    work, *further = works
    if options.order not in get_args(Order):
        raise UsageError(f"{given_as('--order', repr(options.order))}: choose one of {', '.join(get_args(Order))}")
    jobs, backends = for_stages("--jobs", str(options.jobs), len(works)), for_stages("--backend", backend, len(works))
    cores = usable_cores()
    broker, cluster = _broker(options, backends), _cluster(options, backends)
    then = tuple(
        Stage(one, _slots(j, cores, on, b), b, j.strip() == "auto")
        for one, j, b in zip(further, jobs[1:], backends[1:], strict=True)
    )
    limits = _limits(options, jobs[0], _slots(jobs[0], cores, on, backends[0]), keep_order=keep_order)
    plan = Plan(
        work=work,
        source=source,
        limits=limits,
        workdir=workdir,
        backend=backends[0],
        then=then,
        nice=options.nice,
        order=options.order,
        on=tuple(one.text for one in on),
        on_each=on_each,
        broker=broker,
        cluster=cluster,
    )
    return replace(plan, lease=_lease(options)) if on else plan


def works_on_each(works: Sequence[Work]) -> list[Work]:
    """The same commands for inputs whose last column is a host."""
    return [replace(one, on_each=True) for one in works if isinstance(one, Template)]


def with_files(plan: Plan, options: Commands) -> Plan:
    """The plan, with the files that travel to the hosts and back. Raises UsageError."""
    given = {"--send": options.send, "--fetch": options.fetch}
    named = [option_name(name) for name, texts in given.items() if texts]
    if not named:
        if options.cleanup:
            raise UsageError(f"{option_name('--cleanup')} has no effect without {option_name('--send')}")
        return plan
    if not plan.on:
        raise UsageError(f"{named[0]} has no effect without {option_name('--on')} or {option_name('--on-each')}")
    if plan.then:
        raise UsageError(f"{named[0]} does not go with {option_name('--then')}")
    files = Files(folder=os.getcwd(), send=[*options.send], fetch=[*options.fetch], cleanup=options.cleanup)
    files.check(on_each=plan.on_each)
    return replace(plan, files=files)


def _lease(options: Execution) -> float:
    from manyhands.work.broker_url import parse_lease  # here: most runs have none

    return parse_lease(options.lease)


def _broker(options: Execution, backends: Sequence[str]) -> Broker | None:
    if options.broker is None and not any(is_queue(one) for one in backends):
        return None
    from manyhands.work.broker_url import Broker, check_broker  # here: most runs have none

    url, kind = check_broker(options.broker, backends)
    return Broker.of(
        url,
        os.environ,
        lease=options.lease,
        insecure=options.insecure,
        password_file=options.broker_password_file,
        kind=kind,
        store=options.store,
    )


def _cluster(options: Execution, backends: Sequence[str]) -> Cluster | None:
    if options.cluster is None and "dask" not in backends:
        return None
    from manyhands.work.cluster_address import Cluster, check_cluster  # here: most runs have none

    return Cluster.of(check_cluster(options.cluster, backends), lease=options.lease, insecure=options.insecure)


def _slots(jobs: str, cores: int, on: Sequence[HostName], backend: str) -> int:
    if is_elsewhere(backend):
        _check_jobs(jobs, given_as("--backend", backend), "consumers" if is_queue(backend) else "workers")
        return _IN_QUEUE if jobs.strip() == "100%" else parse_jobs(jobs, cores)
    return EVERY_SLOT if on and jobs.strip() == "100%" else parse_jobs(jobs, cores)


def _check_for_hosts(jobs: str, backend: str, option: str) -> None:
    """Raise UsageError for what other hosts cannot do."""
    if backend not in ("commands", "ssh"):
        raise UsageError(
            f"{given_as('--backend', backend)}: it runs commands here, and {option_name(option)} names other hosts"
        )
    for one in jobs.split(","):
        _check_jobs(one, option_name(option), "hosts")


def _check_jobs(jobs: str, beside: str, whose: str) -> None:
    """Raise UsageError for a number of slots that is reckoned from the cores of this machine."""
    if jobs.strip() != "100%" and not jobs.strip().isdigit():
        raise UsageError(f"{given_as('--jobs', jobs)}: with {beside} a number, or 100% of the {whose}' slots")


def check_group(options: Execution) -> None:
    """Raise UsageError for jobs of no inputs, before anything is made of it."""
    if options.max_args is not None and options.max_args < 1:
        raise UsageError(f"{given_as('--max-args', options.max_args)}: a job has one input at least")


def _limits(options: Execution, jobs: str, slots: int, *, keep_order: bool) -> Limits:
    return Limits(
        jobs=slots,
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
