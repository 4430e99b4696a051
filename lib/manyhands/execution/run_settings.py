"""What a backend is told of a run: its plan, as the settings of command or function backends.

Separate from `batch`, which carries the plan out and does not know what the backends want.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.posix.cores import usable_cores
from manyhands.storage.runs import Run, RunLock
from manyhands.work.plan import Plan


def settings_of(
    plan: Plan, run: Run, held: RunLock, slots: int, columns: Sequence[str]
) -> CommandSettings | FunctionSettings:
    """For ``slots`` places at once and inputs with these ``columns``."""
    environment = dict(os.environb) | {os.fsencode(k): os.fsencode(v) for k, v in plan.environment.items()}
    environment[b"MH_RUN"] = run.id.encode()
    shared: dict[str, Any] = {
        "slots": slots, "outputs": run.outputs.absolute(), "token": run.token, "environment": environment,
        "workdir": Path(plan.workdir), "grace": plan.limits.grace, "output_cap": plan.limits.output_cap, "nice": plan.nice,
        "keep_open": (held.descriptor,),
    }  # fmt: skip
    if plan.call:
        named = plan.limits.retry_on.exceptions if plan.limits.retry_on else ()
        return FunctionSettings(
            **shared, call=replace(plan.call, named=named), columns=tuple(columns), workers=plan.workers,
            timed=plan.limits.timeout is not None,
        )  # fmt: skip
    stdin = (run.path / "stdin").absolute() if plan.stdin == "-" else None if plan.stdin is None else Path(plan.stdin)
    return CommandSettings(**shared, stdin=stdin, allow_daemons=plan.allow_daemons, launchers=min(slots, usable_cores()))
