"""A run whose jobs are given to a queue, all of them, and left there: consumers do them, and a resume collects what became of them.

    inputs --> jobs, a page at a time --journal: began, committed--> broker                    (here)
    run.json: submitted, the journal, the broker --> Batch with a Lasting backend --> events   (a resume, at any time)

There is no engine in it: nobody is here who would count time-outs, retries or widths. Whatever ends it in the middle, a resume finds
attempts that were recorded and not sent, and inputs that were not read, and does the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Final

from manyhands.backends.queue.attempt_messages import row_of, why_none
from manyhands.backends.queue.carrier import BrokerLostError
from manyhands.backends.queue.lasting_sender import LastingSender
from manyhands.backends.queue.queue_backend import fresh_name, lasting_sender
from manyhands.core.errors import UnavailableError, UsageError
from manyhands.core.job import Attempt
from manyhands.core.records import dataclass
from manyhands.engine.supply import Pull
from manyhands.execution.job_source import JobSource
from manyhands.execution.open_run import OpenRun
from manyhands.execution.run_backend import settings_of
from manyhands.execution.run_inputs import RunInputs
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Store, discard
from manyhands.work.submitted import Submitted
from manyhands.work.work import BoundWork

_PAGE: Final = 500
"""Jobs that are recorded, and then sent, at once."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a submission: ``jobs`` are in the queue. ``error``: why it ended before all inputs were read."""

    jobs: int
    error: UsageError | UnavailableError | None = None


class Submission:
    """One new run on its way into the queue. `carry_out` is called once."""

    def __init__(self, opened: OpenRun, keep: float) -> None:
        """``keep``: seconds that it is kept in the broker after anybody has asked for it."""
        self.run, self._opened, self._plan, self._keep = opened.run, opened, opened.plan, keep
        self._inputs = RunInputs(opened.stream, opened.source)
        self._jobs = JobSource(opened.run, opened.plan, "new", self._inputs, None)
        self._arrived = threading.Event()
        self._recorded = False
        self.sent = 0
        """Jobs that are in the queue."""

    def carry_out(self) -> Done:
        """Give all jobs to the queue; if there are none, the run is removed.

        Raises UsageError and UnavailableError while nothing is recorded, and the run is removed; later they are in what is returned. Raises JournalError.
        """
        try:
            with ExitStack() as stack:
                stack.callback(self._opened.held.close)
                journal = self.run.journal()
                stack.callback(journal.close)
                self._submit(journal, stack)
        except (UsageError, UnavailableError) as error:
            if self._recorded:
                return Done(self.sent, error)
            discard(self.run)
            raise
        if not self._recorded:
            discard(self.run)
        return Done(self.sent)

    def _submit(self, journal: Journal, stack: ExitStack) -> None:
        source = self._inputs.open(self.run, self._plan, "new", journal, stack)
        values = self._inputs.values(source, stack, backend=self._plan.backend, wake=self._arrived.set, ask=None)
        work = self._plan.work.bind(source.columns, width=source.width)
        stack.callback((jobs := self._jobs.jobs(journal, values, work, lambda _: None)).close)
        sender = self._sender(source.columns)
        stack.callback(sender.close)
        sender.open()
        try:
            for page in self._pages(jobs, work):
                self._send(page, journal, sender)
        except BrokerLostError as error:
            raise UnavailableError(f"the broker does not answer any more: {error}") from None
        finally:
            if not self._recorded:
                with suppress(BrokerLostError):
                    sender.finish()
        self.run = Store.update(self.run, {"total": self.sent})

    def _sender(self, columns: Sequence[str]) -> LastingSender:
        """The broker's side, not opened; from here on a resume looks for the execution there."""
        name = fresh_name({b"MH_RUN": self.run.id.encode()})
        changes = Submitted(name, self._keep).to_json() | ({"columns": columns} if columns else {})
        self.run = Store.update(self.run, changes)
        return lasting_sender(settings_of(self._plan, self.run, self._opened.held, 1, columns))

    def _pages(self, jobs: Pull, work: BoundWork) -> Iterator[list[Attempt]]:
        """The attempts, some hundred at once; fewer if no more inputs have arrived. What is before an error comes before it."""
        page: list[Attempt] = []
        failed: UsageError | None = None
        try:
            for found in jobs:
                if found is not None:
                    job, _ = found
                    page.append(Attempt(job, 1, work.argv(job.values, job.number)))
                if page and (found is None or len(page) >= _PAGE):
                    yield page
                    page = []
                if found is None:
                    self._arrived.wait()
                    self._arrived.clear()
        except UsageError as error:
            failed = error
        if page:
            yield page
        if failed:
            raise failed

    def _send(self, page: Sequence[Attempt], journal: Journal, sender: LastingSender) -> None:
        """Record the attempts, then send them. What cannot be sent fails when it is collected, as in every batch."""
        for one in page:
            journal.began(one)
        self._recorded = True
        journal.commit()
        sender.renew(again=False)
        call = self._plan.call
        sender.send([(one.id, row_of(one, call)) for one in page if why_none(one, call) is None])
        self.sent += len(page)
