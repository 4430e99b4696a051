"""Measures a sample of jobs on each backend, at several widths, and gives one sentence of advice.

    sample --each backend that fits, 1, cores, 2 x cores ... jobs--> Measured, Measured, ... --> one sentence of advice

Every measurement is a real batch whose run is removed afterwards: the sample is done many times.
"""

from __future__ import annotations

import inspect
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from manyhands.core.errors import ManyhandsError
from manyhands.core.events import Began, Finished
from manyhands.core.hints import option_name
from manyhands.core.job import Outcome, Status, Values
from manyhands.core.records import dataclass, replace
from manyhands.execution.batch import Batch
from manyhands.inputs.sources import Rows, Source
from manyhands.posix.cpu_wait import BUSY, Crowding, is_crowded, queued_seconds, waiting_share
from manyhands.storage.runs import Store
from manyhands.work.plan import Plan

_WIDEST: Final = 64
_SHORT: Final = 0.02
"""Seconds of one backend that are too short for a comparison."""
_GAIN: Final = 1.05
"""A greater width must be this many times as fast, or no greater one is tried."""
_NEAR: Final = 0.9
"""A rate of at least this share of the best one counts as equal; fewer jobs then win."""
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """One backend at one width, in seconds and bytes; ``error`` if it could not be measured."""

    backend: str
    jobs: int
    done: int = 0
    failed: int = 0
    startup: float = 0.0
    """Before the first job began."""
    wall: float = 0.0
    """From then to the end of the last one."""
    work: float = 0.0
    """Wall time of all jobs, added up."""
    user: float = 0.0
    system: float = 0.0
    memory: int = 0
    """Peak of one process: a worker, a command, or this one."""
    error: str | None = None
    queued: float = 0.0
    """Seconds in which jobs that run in this process waited for a CPU."""
    crowded: float = 0.0
    """The share of the machine that other processes used meanwhile, if no CPU was idle."""

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.done / max(self.wall, 1e-9) if self.error is None else 0.0

    @property
    def overhead(self) -> float:
        """Seconds for which each job occupied a slot beyond its own time."""
        return max(0.0, self.wall * min(self.jobs, max(self.done, 1)) - self.work) / max(self.done, 1)

    @property
    def waiting(self) -> float:
        """The share of the jobs' time in which they neither used a CPU nor, as far as that is known, waited for one."""
        return waiting_share(self.work, self.user + self.system, self.queued)


def sample_of(source: Source, count: int) -> list[Values]:
    """Up to ``count`` inputs: evenly spread if their number is known, else the first."""
    total = source.total
    if total is None or total <= count:
        return list(islice(source, count))
    wanted = {total * n // count for n in range(count)}
    return [values for n, values in enumerate(source) if n in wanted]


def backends_for(plan: Plan) -> list[str]:
    """The backends that can do this work here, the reference first."""
    if plan.call is None:
        return ["commands", "command-threads"]
    is_async = inspect.iscoroutinefunction(plan.call.function())
    found = ["serial", "asyncio"] if is_async else ["serial", "threads"]
    found.append("processes")
    if not is_async and find_spec("gevent"):
        found.append("gevent")
    if find_spec("concurrent.interpreters"):
        found.append("interpreters")
    return found


def widths_for(backend: str, cores: int, sample: int) -> Iterator[int]:
    """1, then as many jobs as cores, then twice as many each time, as far as that can make a difference."""
    yield 1
    width, widest = cores, min(sample, 4 * cores if backend in ("processes", "interpreters") else _WIDEST)
    while 1 < width <= widest and backend != "serial":
        yield width
        width *= 2


def compare(plan: Plan, sample: Sequence[Values], columns: Sequence[str], cores: int) -> Iterator[Measured]:
    """Measure every backend that fits, at growing widths, until more do not help."""
    for backend in backends_for(plan):
        best = 0.0
        for jobs in widths_for(backend, max(2, cores), len(sample)):
            found = measure(plan, sample, columns, backend, jobs)
            yield found
            if found.error or found.rate < best * _GAIN:
                break
            best = found.rate


def measure(plan: Plan, sample: Sequence[Values], columns: Sequence[str], backend: str, jobs: int) -> Measured:
    """Do the sample once."""
    limits = replace(plan.limits, jobs=jobs, keep_order=False)
    plan = replace(plan, backend=backend, limits=limits, streamed=False, order="input", then=())
    source = Rows(sample, columns)
    moments: list[float] = []
    before = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    queued, crowd = queued_seconds(), Crowding()
    with TemporaryDirectory(prefix="manyhands-") as state:
        batch = Batch.start(replace(plan, source=source.spec()), Store(Path(state)), source=source)
        try:
            outcomes = [one for one in _outcomes(batch, moments) if one.final]
        except ManyhandsError as error:
            return Measured(backend, jobs, error=str(error))
    after = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    queued, crowded = queued_seconds() - queued, crowd.measured()
    began, first, last = moments[0], moments[1], moments[-1]
    user, system = sum(one.user for one in outcomes), sum(one.system for one in outcomes)
    if not user + system:  # a backend that cannot measure single jobs: what the whole process used
        user = sum(b.ru_utime - a.ru_utime for a, b in zip(before, after, strict=True))
        system = sum(b.ru_stime - a.ru_stime for a, b in zip(before, after, strict=True))
    memory = max((one.max_rss for one in outcomes), default=0) or after[0].ru_maxrss * _RSS_UNIT
    return Measured(
        backend=backend,
        jobs=jobs,
        done=len(outcomes),
        failed=sum(one.status is not Status.OK for one in outcomes),
        startup=first - began,
        wall=last - first,
        work=sum(one.wall for one in outcomes),
        user=user,
        system=system,
        memory=memory,
        queued=max(0.0, queued) if backend == "serial" else 0.0,
        crowded=crowded,
    )


def _outcomes(batch: Batch, moments: list[float]) -> Iterator[Outcome]:
    """Yield the outcomes; append to ``moments``, in monotonic seconds, when the batch and the first job began and each job ended."""
    moments.append(time.monotonic())
    for event in batch.events():
        if isinstance(event, Began) and len(moments) == 1:
            moments.append(event.at)
        elif isinstance(event, Finished):
            if len(moments) == 1:
                moments.append(time.monotonic())
            moments.append(time.monotonic())
            yield event.outcome


def best_of(found: Sequence[Measured]) -> Measured | None:
    """The fastest; of those that are nearly as fast the one with the fewest jobs, then the first. None if nothing worked."""
    good = [one for one in found if one.error is None and one.failed <= found[0].failed]
    if not good:
        return None
    top = max(one.rate for one in good)
    return min((one for one in good if one.rate >= _NEAR * top), key=lambda one: one.jobs)


def advise(found: Sequence[Measured]) -> str:
    """One sentence: what to choose, and why."""
    best = best_of(found)
    if best is None:
        return "nothing worked: see the errors"
    reference = found[0]
    if reference.error is None and reference.wall < _SHORT:
        return f"{reference.done} jobs took {reference.wall * 1000:.1f} ms, which is too short to compare: give more inputs, or a larger {option_name('--sample')}"
    waiting = reference.waiting
    computing = "computing" if reference.queued < reference.user + reference.system else "computing, or waiting for a CPU"
    why = f"{waiting:.0%} of the time was waiting" if waiting > 0.5 else f"{1 - waiting:.0%} of the time was {computing}"
    faster = best.rate / reference.rate if reference.rate else 1.0
    gain = (
        f"{faster:.1f} times as fast as {reference.backend}"
        if best is not reference and faster > _GAIN
        else "nothing was faster"
    )
    busy = is_crowded(max(one.crowded for one in found))
    more = any(one.backend == best.backend and one.jobs > best.jobs for one in found)
    jobs = "1 job" if best.jobs == 1 else f"{best.jobs} jobs"
    return (
        f"{why}: {best.backend}, {jobs} at once, {gain}"
        + ("; more did not help" if more else "")
        + (BUSY.format(again="measure again") if busy else "")
    )
