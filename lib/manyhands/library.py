"""The short form for programs: `run_batch` does all that the ``batch`` task does, and yields outcomes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from manyhands.batch import Batch
from manyhands.cores import usable_cores
from manyhands.events import Finished, Summary
from manyhands.inputs import Source, source_of
from manyhands.job import Outcome
from manyhands.limits import Halt, Limits, parse_duration, parse_jobs, parse_size, parse_timeout
from manyhands.plan import Plan
from manyhands.runs import Store, default_state_dir
from manyhands.signals import Watched
from manyhands.template import Template, user_shell


def run_batch(
    template: str | Sequence[str] | Template,
    inputs: Source | Iterable[str | bytes | Sequence[str | bytes] | Mapping[str, str]],
    *,
    jobs: int | str = "100%",
    timeout: float | str | None = None,
    grace: float | str = 5.0,
    retries: int = 0,
    delay: float | str = 0.0,
    backoff: float | str = 1.0,
    halt: str = "never",
    ordered: bool = False,
    workdir: str | os.PathLike[str] = ".",
    env: Mapping[str, str] | None = None,
    shell: bool = False,
    stdin: str | os.PathLike[str] | None = None,
    output_cap: int | str | None = None,
    nice: int = 0,
    allow_daemons: bool = False,
    backend: str = "commands",
    run_id: str | None = None,
    state_dir: str | os.PathLike[str] | None = None,
) -> Results:
    """Run one command over many inputs; iterate the result for the final `Outcome` of each job, as they end.

    ``template``: a string is split into arguments as a shell would, a list is taken as it is. ``inputs``: strings, bytes,
    sequences (columns by position), mappings (columns by name), or a `Source`; an iterator is pulled lazily. ``ordered``:
    outcomes in the order of the inputs. All other arguments mean what the options of ``batch`` mean. Nothing begins before
    the first outcome is asked for; leaving the loop early stops what runs.

    Raises UsageError for arguments that cannot be meant, CannotCreateError, JournalError. SIGINT, SIGTERM and SIGHUP end the
    batch in good order, and then do what they would have done.
    """
    limits = Limits(
        jobs=parse_jobs(jobs, usable_cores()), timeout=parse_timeout(timeout), grace=parse_duration(grace, "grace"),
        retries=retries, delay=parse_duration(delay, "delay"), backoff=parse_duration(backoff, "backoff"),
        halt=Halt.parse(halt), keep_order=ordered,
        output_cap=None if output_cap is None else parse_size(output_cap, "output_cap"),
    )  # fmt: skip
    source = source_of(inputs)
    plan = Plan(
        template=_template(template, shell), source=source.spec(), limits=limits, workdir=os.path.abspath(workdir),
        environment=dict(env or {}), stdin=None if stdin is None else os.path.abspath(stdin), nice=nice,
        allow_daemons=allow_daemons, backend=backend,
    )  # fmt: skip
    store = Store(Path(state_dir).absolute() if state_dir else default_state_dir(os.environ))
    return Results(Batch.start(plan, store, run_id=run_id, source=source))


def _template(given: str | Sequence[str] | Template, shell: bool) -> Template:
    if isinstance(given, Template):
        return given
    if isinstance(given, str):
        return Template.parse(given, shell=user_shell(os.environ) if shell else None)
    return Template.from_args(given)


class Results:
    """The outcomes of a batch that `run_batch` has begun; iterate it once. ``summary`` is there when it is over."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    @property
    def run_id(self) -> str:
        """The id of the run, as ``batch.show`` and ``batch.resume`` take it."""
        return self._batch.run.id

    @property
    def summary(self) -> Summary | None:
        """What it came to; None while it is not over."""
        return self._batch.summary

    def __iter__(self) -> Iterator[Outcome]:
        with (
            Watched(self._batch.stop, self._batch.wake, talkative=False),
            closing(self._batch.events()) as events,
        ):
            for event in events:
                if isinstance(event, Finished) and event.outcome.final:
                    yield event.outcome
        if self.summary is not None and self.summary.stopped_by is not None:
            os.kill(os.getpid(), self.summary.stopped_by)
