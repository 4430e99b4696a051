"""The jobs of one execution, in the order in which they may begin.

    not done, or failed --------+
    new inputs ---key, number---+--> (job, the number of its last attempt)
    the stage before -----------+

Separate from `manyhands.execution.batch`: this decides which jobs there are, and carries none of them out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator
from itertools import chain

from manyhands.core.job import Job, Values
from manyhands.core.lean import make
from manyhands.execution.run_inputs import RunInputs, Scope
from manyhands.execution.stage_context import StageContext
from manyhands.execution.start_order import arrange, walls_of
from manyhands.inputs.grouping import groups_of, in_groups, new_groups
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Run, Store
from manyhands.work.plan import Plan
from manyhands.work.shard import Shard
from manyhands.work.work import BoundWork


class JobSource:
    """Gives out the jobs of one execution of ``run``; a later stage gets them from the stage before it, through ``context``."""

    def __init__(self, run: Run, plan: Plan, scope: Scope, inputs: RunInputs, context: StageContext | None) -> None:
        self._run, self._plan, self._scope, self._inputs, self._context = run, plan, scope, inputs, context
        self.issued: deque[int] = deque()
        """The numbers of the jobs that were given out, used to keep the order."""
        self.recovered: deque[int] = deque()
        """The numbers of jobs that are not given out, but get a result all the same, in their place."""
        self.begun = False
        """Whether any job was given out."""
        self.any_input = False
        """Whether there was any input."""
        self.adopted: Container[tuple[int, int]] = ()
        """Attempts, as (job, number), that have begun and go on elsewhere: they are given out, not the next ones of their jobs."""

    def jobs(
        self, journal: Journal, values: Iterator[Values | None], work: BoundWork, all_read: Callable[[int], None]
    ) -> Generator[tuple[Job, int] | None, None, None]:
        """Yield the jobs that are left or failed, then those of new inputs or of the stage before; None while none has arrived.
        ``all_read`` is called with the number of all jobs when every input has been read, although not every job has begun."""
        left = journal.left() if self._scope in ("rest", "both") else ()
        failed = journal.failed() if self._scope in ("failed", "both") else ()
        for job, last in chain(left, failed):
            self.issue_recovered(job.number)
            self._issue(job.number)
            yield job, last - ((job.number, last) in self.adopted)
        self.issue_recovered()
        if self._context and self._context.number > 1:
            for one in self._context.coming():
                self.begun = True
                yield one
            return
        new = self._new(journal, values, work, all_read)
        if self._plan.order == "input":
            yield from new
            return
        gathered = []
        for found in new:
            if found is None:
                yield None
            else:
                gathered.append(found[0])
        for job in gathered:
            self._issue(job.number)
        earlier = Store(self._run.path.parents[1]).all() if self._plan.order == "longest" and gathered else []
        for job in arrange(gathered, self._plan.order, walls_of(self._plan, earlier)):
            yield job, 0

    def _new(
        self, journal: Journal, values: Iterator[Values | None], work: BoundWork, all_read: Callable[[int], None]
    ) -> Iterator[tuple[Job, int] | None]:
        """Jobs for the inputs that are new to this run; they are given out here if they begin in the order of the inputs."""
        if self._plan.shard is not None:
            yield from self._of_shard(self._plan.shard, journal, values, work)
            return
        number = journal.last_number()
        again, most = self._scope in ("rest", "both"), self._plan.max_args
        known = journal.known() if again and most is None else None
        counted = again or self._inputs.feed is None
        if most is not None:
            recorded = (one.job.values for one in journal.records(exact=True)) if again else ()
            values = new_groups(map(self._noticed, values), most, recorded)
        key_of, remember = work.key, self._inputs.remember
        in_order = self._plan.order == "input"
        issue = self.issued.append if in_order and self._keeps_order else None
        try:
            for value in values:
                if value is None:
                    yield None
                    continue
                self.any_input = True
                key = key_of(value)
                if known is None or not known.met(key):
                    number += 1
                    if not counted and (rest := self._inputs.rest) is not None:
                        counted = True
                        all_read(number + (groups_of(rest, most) or 0))
                    self.begun = self.begun or in_order
                    if issue is not None:
                        issue(number)
                    yield make(Job, (number, key, *remember(number, value))), 0
        finally:
            if known:
                known.close()

    def _of_shard(
        self, shard: Shard, journal: Journal, values: Iterator[Values | None], work: BoundWork
    ) -> Iterator[tuple[Job, int]]:
        """The jobs of one part of a run: its inputs are always the same, so a job is known by its number."""
        begun = journal.begun_numbers() if self._scope != "new" else ()
        most, in_order = self._plan.max_args, self._plan.order == "input"
        jobs = values if most is None else in_groups(values, most)
        for number, value in zip(shard.jobs, (one for one in jobs if one is not None), strict=False):
            self.any_input = True
            key = work.key(value)
            if number not in begun:
                if in_order:
                    self._issue(number)
                yield make(Job, (number, key, *self._inputs.remember(number, value))), 0

    def _noticed(self, values: Values | None) -> Values | None:
        self.any_input = self.any_input or values is not None
        return values

    def issue_recovered(self, below: float = math.inf) -> None:
        """Note that it is the turn of the recovered jobs with numbers ``below``."""
        while self.recovered and self.recovered[0] < below:
            number = self.recovered.popleft()
            if self._keeps_order:
                self.issued.append(number)

    @property
    def _keeps_order(self) -> bool:
        return self._plan.limits.keep_order or self._context is not None

    def _issue(self, number: int) -> None:
        self.begun = True
        if self._keeps_order:
            self.issued.append(number)
