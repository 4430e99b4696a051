"""The short form for programs: `run_batch` does all that the ``batch`` tasks do, and yields outcomes."""

from __future__ import annotations

import os
import signal
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from multiprocessing import current_process
from pathlib import Path
from types import TracebackType
from typing import Any

from manyhands.background import Carrier, carry
from manyhands.batch import Batch
from manyhands.call import Call, ResultKind, encode
from manyhands.cores import usable_cores
from manyhands.engine.channel import Closed
from manyhands.errors import UsageError
from manyhands.events import Finished, Summary
from manyhands.feed import CallerFeed
from manyhands.inputs import Rows, Source
from manyhands.job import Outcome
from manyhands.limits import Halt, Limits, parse_duration, parse_jobs, parse_size, parse_timeout
from manyhands.line import Line, begin
from manyhands.plan import Order, Plan, Stage, Workers, for_stages
from manyhands.program_inputs import Iterating, source_of
from manyhands.run_inputs import Pulling
from manyhands.runs import Store, default_state_dir
from manyhands.signals import Watched
from manyhands.template import Template, user_shell


def run_batch(
    template: str | Sequence[str] | Template | Callable[..., Any] | Call,
    inputs: Source | Iterable[Any],
    *,
    jobs: int | str = "100%", timeout: float | str | None = None, grace: float | str = 5.0, retries: int = 0,
    delay: float | str = 0.0, backoff: float | str = 1.0, halt: str = "never", ordered: bool = False, then: Sequence[Any] = (), order: Order = "input",
    workdir: str | os.PathLike[str] = ".", env: Mapping[str, str] | None = None, shell: bool = False,
    stdin: str | os.PathLike[str] | None = None, output_cap: int | str | None = None, nice: int = 0,
    allow_daemons: bool = False, backend: str | None = None, result: ResultKind = "json",
    initializer: Callable[..., Any] | str | None = None, initargs: Sequence[Any] = (), chunk: int | None = None,
    max_jobs_per_worker: int | None = None, start_method: str = "forkserver", run_id: str | None = None,
    state_dir: str | os.PathLike[str] | None = None, pull: Pulling = "thread", handle_signals: bool = True,
    retry_failed: bool = False,
) -> Results:  # fmt: skip
    """Run one command, or call one function, over many inputs; iterate the result for the final `Outcome` of each job.

    ``template``: of a command, a string is split into arguments as a shell would, a list is taken as it is; or a function.
    ``inputs`` of a command: strings, bytes, sequences (columns by position), mappings (columns by name); of a function: a
    tuple gives its arguments, a dict its keyword arguments, anything else is the one argument. A `Source` for either; an
    iterator is pulled lazily. ``ordered``: outcomes in the order of the inputs, else as they end. ``backend``: by default
    ``commands``, and ``processes`` for functions. ``then``: what is done with each input next, if that went well: further
    commands, or functions, which get what the one before returned; ``jobs`` and ``backend`` may then be ``"4,2"``. What a function returned is `Outcome.value`. All other arguments mean what
    the options of ``batch`` and ``batch.call`` mean. Nothing begins before the first outcome is asked for, or the ``with`` block
    is entered; leaving early stops what runs (see `Results`).

    Time-outs, retries and the journal depend on nobody's loop: the batch is carried out in a thread of its own, and while
    outcomes are not taken, only nothing more begins. An iterator of inputs is pulled in a thread, too; ``pull="caller"`` pulls it
    where the outcomes are iterated, for inputs that belong to that thread (database cursors, sessions). ``serial`` calls the
    function in the iterating thread.

    A script that calls functions in processes does so under ``if __name__ == "__main__":``, because every worker imports it.

    Raises UsageError for arguments that cannot be meant, CannotCreateError, JournalError. In the main thread, SIGINT, SIGTERM and
    SIGHUP end the batch in good order, and then do what they would have done, unless ``handle_signals`` is False or another
    program part (asyncio) has the wake-up descriptor.
    """
    widths, cores = for_stages("jobs", str(jobs), 1 + len(then)), usable_cores()
    limits = Limits(
        jobs=parse_jobs(widths[0], cores), climb=widths[0].strip() == "auto", timeout=parse_timeout(timeout), grace=parse_duration(grace, "grace"),
        retries=retries, delay=parse_duration(delay, "delay"), backoff=parse_duration(backoff, "backoff"),
        halt=Halt.parse(halt), keep_order=ordered,
        output_cap=None if output_cap is None else parse_size(output_cap, "output_cap"),
    )  # fmt: skip
    work: Template | Call
    if isinstance(template, Call) or (callable(template) and not isinstance(template, Template)):
        work, source = _call(template, inputs, result, initializer, tuple(initargs))
        further: list[Template | Call] = [Call.of(one, type="json", result=result) for one in then]
    else:
        work, source = _template(template, shell), source_of(inputs)
        further = [_template(one, shell) for one in then]
    usual = "processes" if isinstance(work, Call) else "commands"
    backends = for_stages("backend", backend or usual, 1 + len(then))
    plan = Plan(
        template=work, source=source.spec(), limits=limits, workdir=os.path.abspath(workdir),
        environment=dict(env or {}), stdin=None if stdin is None else os.path.abspath(stdin), nice=nice,
        allow_daemons=allow_daemons, backend=backends[0],
        then=tuple(Stage(one, parse_jobs(j, cores), b, j.strip() == "auto") for one, j, b in zip(further, widths[1:], backends[1:], strict=True)),
        order=order, workers=Workers(start_method=start_method, chunk=chunk, max_jobs=max_jobs_per_worker),
    )  # fmt: skip
    store = Store(Path(state_dir).absolute() if state_dir else default_state_dir(os.environ))
    batch = begin(plan, store, run_id=run_id, source=source, retry_failed=retry_failed)
    batch.inputs.pull = pull
    return Results(batch, handle_signals=handle_signals)


def _call(
    given: Callable[..., Any] | Call, inputs: Any, result: ResultKind, initializer: Callable[..., Any] | str | None,
    initargs: tuple[Any, ...],
) -> tuple[Call, Source]:  # fmt: skip
    """A function and its inputs, encoded. Raises UsageError in a worker process that only imports the script."""
    if getattr(current_process(), "_inheriting", False):
        raise UsageError('run_batch is called while a worker imports the script: put it under if __name__ == "__main__":')
    if isinstance(given, Call):
        return given, source_of(inputs)
    own = hasattr(inputs, "spec")
    live = None if isinstance(initializer, str) else initializer
    call = Call.of(
        given, type="str" if own else "object", result=result, initializer=initializer if live is None else None,
        initargs=initargs, live_initializer=live,
    )  # fmt: skip
    if own:
        return call, inputs
    encoded = ((encode(one),) for one in inputs)
    return call, Rows(encoded) if isinstance(inputs, list | tuple | range) else Iterating(encoded, width=1)


def _template(given: str | Sequence[str] | Template, shell: bool) -> Template:
    if isinstance(given, Template):
        return given
    if isinstance(given, str):
        return Template.parse(given, shell=user_shell(os.environ) if shell else None)
    return Template.from_args(given)


class Results:
    """The outcomes of a batch of `run_batch`: iterate it once, in any thread, or use it as a context manager.

        with run_batch("gzip {}", paths) as run:
            for outcome in run: ...

    The batch begins with ``with``, or with the first outcome that is asked for. Leaving the ``with`` block (without one, the loop)
    early, `close`, or forgetting the object ends what runs and records it; the run can be resumed. ``summary`` is there when it
    is over.
    """

    def __init__(self, batch: Batch | Line, *, handle_signals: bool = True) -> None:
        self._batch = batch
        self._watched = Watched(batch.stop, batch.wake, talkative=False) if handle_signals else None
        self._stopped = self._inside = False
        self._carrier: Carrier | None = None
        self._outcomes: deque[Outcome] = deque()
        self._over = False
        self._forgotten: Any = weakref.finalize(self, _never_begun, batch, os.getpid())

    @property
    def run_id(self) -> str:
        """The id of the run, as ``batch.show`` and ``batch.resume`` take it."""
        return self._batch.run.id

    @property
    def summary(self) -> Summary | None:
        """What it came to; None while it is not over."""
        return self._batch.summary

    def __enter__(self) -> Results:
        self._begin()
        self._inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Generator[Outcome, None, None]:
        try:
            while True:
                try:
                    outcome = next(self)
                except StopIteration:
                    return
                yield outcome
        finally:
            if not self._inside:  # else the `with` block ends it
                self.close()

    def __next__(self) -> Outcome:
        """The next final outcome. Raises what ended the batch, when all outcomes before that have been given."""
        while not self._outcomes:
            if self._over:
                raise StopIteration
            self._take()
        return self._outcomes.popleft()

    def stop(self) -> None:
        """Begin nothing more and end what runs, with the grace; the second call kills. The outcomes can still be iterated."""
        self._stopped = True
        self._batch.stop(signal.SIGTERM)

    def close(self) -> None:
        """End what runs at once, record it, and wait for that. What has not been iterated is in the journal only."""
        self._over = True
        self._outcomes.clear()
        self._forgotten()
        if self._watched:
            self._watched.__exit__(None, None, None)

    def _begin(self) -> Carrier:
        if self._carrier is None:
            if self._over:
                raise UsageError("this batch has been closed before it began: call run_batch again")
            self._forgotten.detach()
            if self._watched:
                self._watched.__enter__()
            self._carrier = carrier = carry(self._batch)
            self._forgotten = weakref.finalize(self, _forget, carrier, self._watched)
            self._forgotten.atexit = (
                False  # `manyhands.background` ends it before multiprocessing waits for its processes
            )
        return self._carrier

    def _take(self) -> None:
        """Wait for events, and pull inputs meanwhile if that is this thread's part."""
        carrier, feed = self._begin(), self._batch.inputs.feed
        if isinstance(feed, CallerFeed) and feed.wanted:
            feed.pull()
        try:
            events = carrier.take()
        except Closed as end:
            self._end(end.__cause__)
            return
        self._outcomes.extend(e.outcome for e in events if isinstance(e, Finished) and e.outcome.final)

    def _end(self, error: BaseException | None) -> None:
        self.close()
        if error is not None:
            raise error
        stopped_by = self._batch.stopped_by
        if stopped_by is not None and not self._stopped:
            os.kill(os.getpid(), stopped_by)


def _never_begun(batch: Batch | Line, pid: int) -> None:
    """Nobody has asked for an outcome: a new run leaves nothing behind."""
    if pid == os.getpid():
        batch.discard()


def _forget(carrier: Carrier, watched: Watched | None) -> None:
    """Nobody will ask for another outcome."""
    carrier.leave()
    if watched:
        watched.__exit__(None, None, None)
