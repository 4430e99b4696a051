"""A plan for one part of its inputs: `manyhands.inputs.sharing` divides them, and this writes down which part was taken."""

from __future__ import annotations

import os
from collections.abc import Mapping

from manyhands.core.errors import UsageError
from manyhands.core.hints import option_name
from manyhands.core.records import replace
from manyhands.inputs.recorded_times import RecordedTimes
from manyhands.inputs.sharing import Share, divide
from manyhands.inputs.sources import Source, open_source
from manyhands.options.batch import Execution
from manyhands.work.plan import Plan
from manyhands.work.shard import Shard, text_of


def asked_for(options: Execution, environ: Mapping[str, str]) -> Shard:
    """The part that is wanted. Raises UsageError."""
    if options.shard is None:
        raise UsageError(f"{option_name('--times')} has no effect without {option_name('--shard')}")
    return Shard.parse(options.shard, environ)


def shared(
    plan: Plan,
    wanted: Shard,
    times: str | os.PathLike[str] | None,
    *,
    stream: int | None = None,
    source: Source | None = None,
) -> tuple[Plan, Share]:
    """The plan of one part, and its inputs; all of them, from ``source``, ``stream`` or where the plan says, are read first.

    Raises InputError.
    """
    recorded = None if times is None else RecordedTimes.read(times)
    file = None if stream is None else os.fdopen(os.dup(stream), "rb")
    try:
        every = source or open_source(plan.source, stream=file)
        found = divide(every, wanted.index, wanted.count, group=plan.max_args, times=recorded)
    finally:
        if file:
            file.close()
    shard = replace(
        wanted,
        total=found.total,
        inputs=found.inputs,
        times=recorded.digest if recorded else None,
        numbers=text_of(found.numbers) if recorded else "",
    )
    return replace(plan, shard=shard, streamed=False, source=found.share.spec()), found.share
