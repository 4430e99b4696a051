"""Options become a plan: what nobody has said is the same in the options and in the records, and stages have their own."""

from __future__ import annotations

import pytest

from manyhands.api.run_options import RunOptions
from manyhands.core.errors import UsageError
from manyhands.core.limits import Backoff, Limits, Timeout, parse_size
from manyhands.options.batch import CommandOptions, FunctionOptions
from manyhands.posix.cores import usable_cores
from manyhands.work.plan import Plan
from manyhands.work.planning import check_group, plan_of
from manyhands.work.template import Template
from manyhands.work.worker_settings import Workers

WORK = Template.parse("echo {}")


@pytest.mark.parametrize("options", [CommandOptions(), FunctionOptions(function="f:f"), RunOptions()])
def test_what_nobody_has_said_is_what_the_records_have(options: CommandOptions | FunctionOptions | RunOptions) -> None:
    """So that there is one default, whoever asks: a task, a program, or somebody who makes the records."""
    plan = plan_of(options, [WORK], {}, "/", backend="commands", keep_order=True)
    assert plan == Plan(work=WORK, source={}, limits=Limits(jobs=usable_cores()), workdir="/")


def test_so_it_is_where_only_one_of_them_has_it() -> None:
    """Bytes of piped inputs; how workers are made."""
    for one in (FunctionOptions(function="f:f"), RunOptions()):
        assert (one.start_method, one.max_jobs_per_worker) == (Workers().start_method, Workers().max_jobs)
    plan = Plan(work=WORK, source={}, limits=Limits(jobs=1), workdir="/")
    assert parse_size(CommandOptions().spool_limit, "--spool-limit") == plan.spool_limit
    assert (CommandOptions().allow_daemons, CommandOptions().stdin) == (plan.allow_daemons, plan.stdin)


def test_text_and_values_mean_the_same() -> None:
    """As they are typed, or as a program has them."""
    typed = RunOptions(
        jobs="3", timeout="2m", grace="1.5", delay="250ms", backoff="2", output_cap="1k", retries=1, retry_on="75"
    )
    given = RunOptions(jobs=3, timeout=120, grace=1.5, delay=0.25, backoff=2.0, output_cap=1024, retries=1, retry_on=[75])
    one, other = (plan_of(options, [WORK], {}, "/", backend="commands", keep_order=False) for options in (typed, given))
    assert one == other
    assert (one.limits.timeout, one.limits.backoff, one.limits.jobs) == (Timeout(120.0), Backoff(2.0), 3)


def test_each_stage_has_its_slots_and_its_backend() -> None:
    """One value for all, or one for each."""
    plan = plan_of(RunOptions(jobs="4,auto,2"), [WORK] * 3, {}, "/", backend="commands,fake,fake", keep_order=True)
    assert (plan.limits.jobs, plan.backend, plan.limits.climb) == (4, "commands", False)
    assert [(one.jobs, one.backend, one.climb) for one in plan.then] == [(64, "fake", True), (2, "fake", False)]
    with pytest.raises(UsageError, match=r"^backend=commands,fake: there are 3 stages"):
        plan_of(RunOptions(), [WORK] * 3, {}, "/", backend="commands,fake", keep_order=True)


def test_what_cannot_be() -> None:
    """Before anything is made of it, in the words of who has said it."""
    with pytest.raises(UsageError, match=r"^order='last': choose one of input, random, longest$"):
        plan_of(RunOptions(order="last"), [WORK], {}, "/", backend="commands", keep_order=True)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^max_args=0: a job has one input at least$"):
        check_group(RunOptions(max_args=0))
