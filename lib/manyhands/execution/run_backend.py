"""The backend of an execution: its settings, taken from the plan, its number of slots, and what adapts that for ``--jobs auto``.

Separate from `manyhands.execution.batch`, which carries out the plan and does not know the backends' settings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manyhands.backends.protocol import Backend, is_adjustable, is_elsewhere, is_lasting
from manyhands.backends.registry import open_backend
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.limits import Limits
from manyhands.core.records import replace
from manyhands.engine.autoscale import Climber
from manyhands.execution.open_run import OpenRun
from manyhands.inputs.sources import Source
from manyhands.posix.cores import usable_cores
from manyhands.storage.runs import Run, RunLock
from manyhands.work.host_list import HostName
from manyhands.work.plan import Plan
from manyhands.work.python_command import python_of
from manyhands.work.queue_kinds import is_queue
from manyhands.work.submitted import Submitted

if TYPE_CHECKING:
    from manyhands.backends.site.near_files import FileMoves

_ALL: Final = 1 << 40
"""More jobs than there are."""
_SLOTS_OF_A_ZYGOTE: Final = 8
"""Each launcher of warm jobs has a zygote of its own, which takes the time and the memory of the imports once more."""


def backend_for(opened: OpenRun, source: Source) -> Backend:
    """The backend of the plan, ready for attempts. It has no more slots than there are inputs, if their number is known; for a later
    stage it is not known."""
    plan = opened.plan
    jobs = plan.limits.jobs
    slots = min(jobs, source.total) if source.total and opened.scope == "new" else jobs
    return open_backend(plan.backend, settings_of(plan, opened.run, opened.held, slots, source.columns))


def climber_for(plan: Plan, backend: Backend) -> Climber | None:
    """What adapts the number of jobs at once, if the plan requests that."""
    if not plan.limits.climb:
        return None
    from manyhands.host.metrics import strain

    climber = Climber(usable_cores(), plan.limits.jobs, strain, time.monotonic)
    if is_adjustable(backend):
        climber.obeyed_by(backend.limit)
    return climber


def limits_for(plan: Plan, backend: Backend) -> Limits:
    """The limits of the plan; the number of slots of other hosts is known when the backend has asked them, and a backend that collects
    gets all jobs at once."""
    if is_lasting(backend):
        return replace(plan.limits, jobs=_ALL)
    if not is_elsewhere(backend):
        return plan.limits
    return replace(plan.limits, jobs=min(plan.limits.jobs, backend.capacity))


def settings_of(
    plan: Plan, run: Run, held: RunLock, slots: int, columns: Sequence[str]
) -> CommandSettings | FunctionSettings:
    """The settings for ``slots`` slots and inputs with these ``columns``."""
    given = {os.fsencode(k): os.fsencode(v) for k, v in plan.environment.items()} | {b"MH_RUN": run.id.encode()}
    queued = plan.broker if is_queue(plan.backend) else None
    cluster = plan.cluster if plan.backend == "dask" else None
    environment = given if plan.on or queued or cluster else dict(os.environb) | given
    shared: dict[str, Any] = {
        "slots": slots,
        "outputs": run.outputs.absolute(),
        "token": run.token,
        "environment": environment,
        "workdir": Path(plan.workdir),
        "grace": plan.limits.grace,
        "output_cap": plan.limits.output_cap,
        "nice": plan.nice,
        "keep_open": (held.descriptor,),
        **({"broker": queued.url, "store": queued.store, "lease": queued.lease} if queued else {}),
        "submitted": Submitted.of(run.record) if queued else None,
        **({"cluster": cluster, "lease": cluster.lease} if cluster else {}),
    }
    if plan.call:
        named = plan.limits.retry_on.exceptions if plan.limits.retry_on else ()
        return FunctionSettings(
            **shared,
            call=replace(plan.call, named=named),
            columns=tuple(columns),
            workers=plan.workers,
            timed=plan.limits.timeout is not None,
        )
    stdin = (run.path / "stdin").absolute() if plan.stdin == "-" else None if plan.stdin is None else Path(plan.stdin)
    shared |= {"stdin": stdin, "allow_daemons": plan.allow_daemons}
    return _settings_on_hosts(plan, shared, columns) if plan.on else _settings_here(plan, shared)


def _settings_on_hosts(plan: Plan, shared: dict[str, Any], columns: Sequence[str]) -> CommandSettings:
    from manyhands.backends.site.ssh import spec_of  # here: it imports what makes zips
    from manyhands.backends.sites import SiteSettings

    hosts = tuple(spec_of(HostName.parse(one), plan.ssh) for one in plan.on)
    return SiteSettings(**shared, lease=plan.lease, hosts=hosts, on_each=plan.on_each, moves=_moves(plan, columns))


def _settings_here(plan: Plan, shared: dict[str, Any]) -> CommandSettings:
    warm = python_of(plan.work, plan.workdir, shared["environment"].get(b"PATH", os.defpath.encode()))
    wanted = -(-shared["slots"] // _SLOTS_OF_A_ZYGOTE) if warm else shared["slots"]
    return CommandSettings(**shared, warm=warm, launchers=min(wanted, usable_cores()))


def _moves(plan: Plan, columns: Sequence[str]) -> FileMoves | None:
    """The files that travel."""
    if (files := plan.files) is None:
        return None
    from manyhands.backends.site.near_files import FileMoves  # here: most batches are not for other hosts
    from manyhands.work.host_files import paths_of

    send, fetch = (
        paths_of(texts, columns, on_each=plan.on_each, group=plan.max_args) for texts in (files.send, files.fetch)
    )
    return FileMoves(folder=os.fsencode(files.folder), send=send, fetch=fetch, cleanup=files.cleanup)
