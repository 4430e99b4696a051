"""The inputs of one execution: where they come from, and how they reach the engine without making it wait.

    given now, kept in the run's folder, or described in run.json --> Source --directly, or through a thread--> values

Separate from `batch`, which makes jobs of the inputs, and from the package `inputs`, which knows formats but not runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from manyhands.core.errors import InputError
from manyhands.core.hints import given_as
from manyhands.core.job import Values
from manyhands.inputs.counting import Counter, Open
from manyhands.inputs.program_inputs import AtHand, Given, Iterating
from manyhands.inputs.reader_thread import CallerFeed, Pulling, ReaderThread
from manyhands.inputs.sources import Args, Rows, Source, open_source, streamed_part
from manyhands.inputs.value_file import LARGE, Place, Placed, ValueFile, encode_values, fresh_name, kept_source
from manyhands.posix.durable_files import Disk
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Run
from manyhands.work.plan import Plan

if TYPE_CHECKING:
    from manyhands.inputs.spool import Spool

Scope = Literal["new", "rest", "failed", "both"]
"""Which jobs an execution does: all of a new run; those left and new ones; those that failed; or those left, new and failed."""

_PATIENCE: Final = 0.2
"""Seconds that a program's iterator has to return when the batch is over."""


def check_inputs(plan: Plan, source: Source | None) -> None:
    """Raise InputError, before anything runs, for an input that can be read already and that the work refuses: a line that is not a
    command, a word of the command line that would become code."""
    if (plan.work.lines and not isinstance(source, Iterating | None)) or (
        plan.work.reads_code and isinstance(source, Args)
    ):
        renderer = plan.work.bind(source.columns, width=source.width)
        for values in source:
            renderer.argv(values, 0)


class RunInputs:
    """The inputs of one execution: from ``source`` if given, from descriptor ``stream`` if given, else from where ``plan`` says."""

    def __init__(self, stream: int | None, source: Source | None) -> None:
        self._stream, self._source = stream, source
        self._spool: Spool | None = None
        self.feed: ReaderThread | CallerFeed | None = None
        self.pull: Pulling = "thread"
        self._counter: Counter | None = None
        self._reopen: Open | None = None
        self.missing: str | None = None
        """Which inputs are missing, and why, as a sentence."""
        self.given: dict[int, Any] | None = None
        """The items that a program gave, by job number, if the program wants them back; see `items`."""
        self.items: Sequence[Any] | None = None
        """The items that a program gave in a list, if they are the inputs of the jobs 1, 2, 3 ..."""
        self._numbered = False
        self._places: Mapping[int, Place] = {}
        self._folder: Path | None = None
        self._disk = Disk()
        self._file: ValueFile | None = None

    def open(self, run: Run, plan: Plan, scope: Scope, journal: Journal, stack: ExitStack) -> Source:
        """Open the inputs; ``stack`` closes them."""
        self._numbered = scope == "new" and plan.max_args is None and plan.shard is None
        self._folder, self._disk = (run.path, run.disk) if run.kept else (None, run.disk)
        stack.callback(self._close)
        if self._stream is not None:
            from manyhands.inputs.spool import Spool  # here: only inputs from a pipe need it

            journal.follow(self._durable)
            spool = self._spool = Spool(self._stream, run.path, limit=plan.spool_limit)
            stack.callback(spool.close)
            self._reopen = spool.whole
            return open_source(plan.source, stream=stack.enter_context(spool.follow()))
        if scope == "failed":  # no new inputs; the columns are as they were
            return Rows([], run.record.get("columns", ()))
        if self._source is not None:
            return self._source
        if plan.source["kind"] == "kept":
            return kept_source(run.path, plan.source)
        if plan.source["kind"] == "iterator":
            self.missing = "the inputs came from a program: only it can give the rest"
            return Rows([], run.record.get("columns", ()))
        if not plan.streamed:
            return open_source(plan.source)
        return self._kept(run, plan, journal, stack)

    def _kept(self, run: Run, plan: Plan, journal: Journal, stack: ExitStack) -> Source:
        """The inputs that came through a pipe, as far as they were stored."""
        from manyhands.inputs.spool import spooled

        there = spooled(run.path, streamed_part(plan.source), journal.kept_inputs())
        if there.complete:
            self._reopen = lambda _: there.open()
            return open_source(plan.source, stream=stack.enter_context(there.open()))
        self.missing = (
            "the inputs were cut off when the run was killed; those that were stored are done now; "
            f"give them all again with {given_as('--run-id', run.id)} to do the rest"
        )
        if there.size:
            return open_source(plan.source, stream=stack.enter_context(there.open()))
        if streamed_part(plan.source)["kind"] == "csv" and "columns" not in run.record:
            raise InputError(self.missing)  # not even the names of the columns were stored
        return Rows([], run.record.get("columns", ()))

    def values(
        self, source: Source, stack: ExitStack, *, backend: str, wake: Callable[[], None], ask: Callable[[], None] | None
    ) -> Iterator[Values | None]:
        """Yield the inputs of ``source``, None while none has arrived; its columns are known from here on.

        ``wake`` is called when an input has arrived or `counted` is known, ``ask`` when the thread that iterates the results should pull.
        """
        self._count(source, stack, wake)
        live = isinstance(source, Iterating)
        if isinstance(source, AtHand) and self._numbered:
            self.items, self._places = source.items, source.places
            return iter(source.rows)
        if self._stream is None and not live:
            return iter(source)  # reading it does not wait
        if self._stream is None and backend == "serial":  # everything happens in one thread
            values = iter(source)
            first = list(islice(values, 1))
            return chain(first, values)
        if self._stream is None and self.pull == "caller" and ask:
            self.feed = CallerFeed(source, ask, wake)
            stack.callback(self.feed.close)
        else:
            feed = self.feed = ReaderThread(source, wake)
            # A stream is closed before its feed; but a program's iterator may never return.
            stack.callback(feed.close, _PATIENCE if live else None)
            feed.start()
        if isinstance(source, Iterating) and not source.shaped:
            self.feed.wait_first()
        return iter(self.feed)

    def remember(self, number: int, values: Values) -> tuple[Values, Place | None]:
        """(columns of the input of job ``number``, their place if they are in a file); the item that they were made of is kept in
        `given`. Raises NotKeptError."""
        if type(values) is tuple:
            return values, self._places.get(number) if self._places else None
        place = values.place if isinstance(values, Placed) else None
        if isinstance(values, Given) and self.given is not None:
            self.given[number] = values.item
        plain = tuple(values)
        if place is None and self._folder and sum(map(len, plain)) >= LARGE:
            place = self._store(self._folder, plain)
        return plain, place

    def _store(self, folder: Path, values: Values) -> Place:
        """Store a large input of an iterator, so that the journal only refers to it."""
        try:
            if self._file is None:
                self._file = ValueFile(folder / fresh_name(folder), self._disk)
            return self._file.append(encode_values(values))
        except OSError as error:
            from manyhands.inputs.spool import NotKeptError

            raise NotKeptError(f"cannot store an input in {folder}: {error.strerror}; no more jobs begin") from error

    def _close(self) -> None:
        if self._file:
            self._file.close()

    def _count(self, source: Source, stack: ExitStack, wake: Callable[[], None]) -> None:
        nudge = self._spool.nudge if self._spool else lambda: None
        self._counter = Counter(source, wake, self._reopen, nudge)
        stack.callback(self._counter.close)
        self._counter.start()

    @property
    def counted(self) -> int | None:
        """How many inputs there are in all; None if they were not counted, or not yet."""
        return self._counter.number if self._counter else None

    def _durable(self) -> tuple[int, int]:
        """See `Journal.follow`."""
        return self._spool.kept() if self._spool else (0, 0)

    def cancel(self) -> None:
        """Stop waiting for inputs. Safe in a signal handler and from any thread."""
        if self._spool:
            self._spool.cancel()
        if self.feed:
            self.feed.cancel()

    @property
    def rest(self) -> int | None:
        """How many inputs still have to be taken, if all have been read ahead; None while that is not known."""
        return self.feed.rest if self.feed else None
