"""What `manyhands.api.run_batch.run_batch` returns. Separate, because it is all about who iterates, and nothing about what is run."""

from __future__ import annotations

import os
import signal
import warnings
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, cast

from manyhands.core.errors import BatchWarning, ManyhandsError, UsageError
from manyhands.core.events import HAPPENINGS, Event, Finished, Summary, Warned
from manyhands.core.job import NOTHING, Outcome, Status, T_co
from manyhands.core.live_outcome import LiveOutcome, unlinked
from manyhands.engine.channel import Closed
from manyhands.execution.batch import Batch
from manyhands.execution.batch_thread import Carrier, InThread, carry, is_done_by_caller
from manyhands.inputs.reader_thread import CallerFeed, Pulling
from manyhands.posix.signals import Watched
from manyhands.render.program_progress import TICK, Shown
from manyhands.storage.output import pass_on
from manyhands.storage.runs import Store
from manyhands.storage.temporary_runs import TemporaryStore
from manyhands.work.function import decode

if TYPE_CHECKING:
    from manyhands.api.loop_waiter import LoopWaiter
    from manyhands.execution.staged import StagedBatch

_WANTED: Final = frozenset({Finished, Warned})
_SHOWN: Final = HAPPENINGS - {Summary}
"""What a display tells: how many jobs there are, and which run, too."""


class Results(Generic[T_co]):
    """The outcomes of a batch of `run_batch`: iterate it once, in any thread or event loop.

        for outcome in run_batch("gzip {}", paths): ...

        with run_batch("gzip {}", paths) as run:              # or: async with, and async for
            for outcome in run: ...

    The batch begins with ``with``, or with the first outcome that is asked for. Leaving the ``with`` block (without one, the loop)
    early, `close`, or forgetting the object ends what runs and records it; the run can be resumed. ``summary`` is there when it
    is over.

    ``async for`` does the same and never holds up the event loop; when its task is cancelled, what runs is ended and recorded.
    """

    def __init__(
        self,
        batch: Batch | StagedBatch,
        store: Store | None = None,
        *,
        pull: Pulling = "thread",
        handle_signals: bool = True,
        check: bool = False,
        passing: bool = False,
        shown: Shown | None = None,
        fail_if_empty: bool = False,
    ) -> None:
        self._batch, self._fail_if_empty, self._check, self._passing = batch, fail_if_empty, check, passing
        self._shown = shown
        self._temporary = store if isinstance(store, TemporaryStore) else None
        self._given: dict[int, Any] = {}
        batch.inputs.given = self._given
        batch.inputs.pull = pull
        self._watched = Watched(batch.stop, batch.wake, talkative=False) if handle_signals else None
        self._stopped = self._inside = False
        self._carrier: Carrier | None = None
        self._in_loop: LoopWaiter | None = None
        self._outcomes: deque[Outcome[T_co]] = deque()
        self._warned: set[Warned] = set()
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

    def __enter__(self) -> Results[T_co]:
        self._begin()
        self._inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Generator[Outcome[T_co], None, None]:
        outcomes = self._outcomes
        try:
            while True:
                while outcomes:
                    outcome = self._handed_over(outcomes.popleft())
                    if self._check and self._is_to_raise(outcome):
                        self.close()
                        outcome.check()
                    yield outcome
                if self._over:
                    return
                self._take()
        finally:
            if not self._inside:  # else the `with` block ends it
                self.close()

    def __next__(self) -> Outcome[T_co]:
        """The next final outcome. Raises what ended the batch, when all outcomes before that have been given, and, if they are to be
        checked, the error of the first that is not ok, when what runs has been stopped."""
        while not self._outcomes:
            if self._over:
                raise StopIteration
            self._take()
        outcome = self._handed_over(self._outcomes.popleft())
        if self._check and self._is_to_raise(outcome):
            self.close()
            outcome.check()
        return outcome

    def _handed_over(self, outcome: Outcome[T_co]) -> LiveOutcome[T_co]:
        """An outcome as the program gets it."""
        if self._shown:
            self._shown.step_aside()
        if self._temporary:
            end = outcome.ending
            outcome = outcome._replace(ending=end._replace(stdout=unlinked(end.stdout), stderr=unlinked(end.stderr)))
        live = LiveOutcome.of(outcome, self._input_of(outcome))
        if self._passing and not (outcome.ending.stdout is outcome.ending.stderr is NOTHING):
            _pass_on(live)
        return live

    def _is_to_raise(self, outcome: Outcome[T_co]) -> bool:
        """Whether an outcome that is to be checked is one to stop at."""
        return outcome.status is not Status.OK and not (self._stopped and outcome.status is Status.CANCELLED)

    async def __aenter__(self) -> Results[T_co]:
        self._waiter()
        self._inside = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def __aiter__(self) -> AsyncGenerator[Outcome[T_co], None]:
        outcomes = self._outcomes
        try:
            while True:
                while outcomes:
                    outcome = self._handed_over(outcomes.popleft())
                    if self._check and self._is_to_raise(outcome):
                        await self._leave()
                        outcome.check()
                    yield outcome
                if self._over:
                    return
                await self._take_in_loop()
        finally:
            if not self._inside:  # else the `async with` block ends it
                await self._leave()

    def stop(self) -> None:
        """Begin nothing more and end what runs, with the grace; the second call kills. The outcomes can still be iterated."""
        self._stopped = True
        self._batch.stop(signal.SIGTERM)

    def close(self) -> None:
        """End what runs at once, record it, and wait for that. What has not been iterated is in the journal only."""
        self._over = True
        self._outcomes.clear()
        self._forgotten()
        if self._shown:
            self._shown.close()
        if self._temporary:
            self._temporary.close()
        if self._watched:
            self._watched.__exit__(None, None, None)

    def _begin(self) -> Carrier:
        if self._carrier is None:
            if self._over:
                raise UsageError("this batch has been closed before it began: call run_batch again")
            self._forgotten.detach()
            if self._watched:
                self._watched.__enter__()
            self._carrier = carrier = carry(self._batch, _SHOWN if self._shown else _WANTED)
            self._forgotten = weakref.finalize(self, _forget, carrier, self._watched)
            self._forgotten.atexit = (
                False  # `manyhands.execution.batch_thread` ends it before multiprocessing waits for its processes
            )
        return self._carrier

    def _take(self) -> None:
        """Wait for events, and pull inputs meanwhile if that is this thread's part."""
        carrier = self._begin()
        self._pull()
        try:
            events = carrier.take(TICK if self._shown else None)
        except Closed as end:
            self._end(end.__cause__)
            return
        self._note(events)

    async def _take_in_loop(self) -> None:
        """The same; only the task that iterates waits."""
        waiter = self._waiter()
        self._pull()
        try:
            events = await waiter.take(TICK if self._shown else None)
        except Closed as end:
            self._end(end.__cause__)
            return
        self._note(events)

    def _waiter(self) -> LoopWaiter:
        """What waits in the event loop that runs here; begins the batch if need be."""
        from manyhands.api.loop_waiter import LoopWaiter

        if self._in_loop is None:
            if is_done_by_caller(self._batch):
                raise UsageError(
                    "backend 'serial' calls the function in the thread that iterates, and would hold up the event loop: "
                    "use backend='threads' with jobs=1"
                )
            carrier = self._begin()
            self._in_loop = LoopWaiter(cast("InThread", carrier))
        return self._in_loop

    async def _leave(self) -> None:
        """What `close` does, without holding up the event loop."""
        if not self._over and self._in_loop is not None:
            self._over = True
            await self._in_loop.leave()
        self.close()

    def _pull(self) -> None:
        feed = self._batch.inputs.feed
        if isinstance(feed, CallerFeed) and feed.wanted:
            feed.pull()

    def _note(self, events: list[Event]) -> None:
        """Keep the outcomes for the caller, and show the rest."""
        finished = [one for one in events if isinstance(one, Finished)]
        if self._shown:
            self._shown.events([one for one in events if not isinstance(one, Warned)])
        append = self._outcomes.append
        for outcome, _, _ in finished:
            if outcome.final:
                append(outcome)
            elif self._passing:
                _pass_on(outcome)
        if len(finished) < len(events):
            self._warn(dict.fromkeys(one for one in events if isinstance(one, Warned)))

    def _warn(self, found: Iterable[Warned]) -> None:
        """Let the program know, each once: what it has asked for through its log, the rest as a warning where it iterates."""
        new = [one for one in found if one not in self._warned]
        self._warned.update(new)
        if new and self._shown:
            self._shown.step_aside()
        for one in new:
            if one.requested:
                import logging  # seldom needed, and much to import

                logging.getLogger("manyhands").info(one.text)
            else:
                warnings.warn(one.text, BatchWarning, stacklevel=5)  # the line that iterates

    def _input_of(self, outcome: Outcome) -> Any:
        """What the job was given; made again if an earlier execution has read it."""
        number = outcome.attempt.job.number
        if (items := self._batch.inputs.items) is not None:
            return items[number - 1]
        if number in self._given:
            return self._given.pop(number)
        plan = self._batch.plan
        values, columns = outcome.attempt.job.values, self._batch.run.record.get("columns", ())
        if plan.call and plan.call.type == "object":
            return decode(plan.call, values)
        if plan.on_each:  # the last column is the host
            values, columns = values[:-1], columns[:-1]
            if not columns:
                texts = tuple(map(os.fsdecode, values))
                return texts if len(texts) > 1 else next(iter(texts), None)
        return dict(zip(columns, map(os.fsdecode, values), strict=False)) if columns else outcome.input

    def _end(self, error: BaseException | None) -> None:
        self.close()
        if error is not None:
            raise error from error.__cause__  # not from the end of the channel that brought it
        if self._batch.no_inputs and self._fail_if_empty:
            raise UsageError("no inputs: nothing to run")
        stopped_by = self._batch.stopped_by
        if stopped_by is not None and not self._stopped:
            os.kill(os.getpid(), stopped_by)


def _pass_on(outcome: Outcome) -> None:
    end = outcome.ending
    if end.stdout.size or end.stderr.size:
        with suppress(ManyhandsError):  # somebody has removed the file: the outcome says where it was
            pass_on(outcome.stdout, outcome.stderr)


def _never_begun(batch: Batch | StagedBatch, pid: int) -> None:
    """No outcome was ever taken: a new run leaves nothing behind."""
    if pid == os.getpid():
        batch.discard()


def _forget(carrier: Carrier, watched: Watched | None) -> None:
    """Nobody will ask for another outcome."""
    carrier.close()
    if watched:
        watched.__exit__(None, None, None)
