"""Which options each backend honours: any other is refused by name before anything runs, never ignored.

Separate from the backends, because reading the table must not import them. To add a backend: one line in `HONOURED`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as, option_name
from manyhands.core.lean import NamedTuple
from manyhands.core.limits import Limits
from manyhands.posix.cores import usable_cores
from manyhands.work.worker_settings import Workers

if TYPE_CHECKING:
    from manyhands.work.plan import Plan


class _Option(NamedTuple):
    """An option that not every backend honours. ``given``: whether a plan has another value than the default."""

    given: Callable[[Plan], bool]
    why: str
    """Why a backend may be unable to honour it."""
    by_one: bool = False
    """With several stages, it is enough that one of them honours it."""


_HERE: Final = "it calls functions in this process, which the option would change"
_NO_WORKERS: Final = "it has no worker processes"
_OPTIONS: Final[dict[str, _Option]] = {
    "--workdir": _Option(lambda plan: plan.workdir != _here(), _HERE),
    "--env": _Option(lambda plan: bool(plan.environment), _HERE),
    "--nice": _Option(lambda plan: plan.nice != 0, _HERE),
    "--stdin": _Option(lambda plan: plan.stdin is not None, "functions get their input as arguments"),
    "--allow-daemons": _Option(
        lambda plan: plan.allow_daemons, "what a function starts in the background lives as long as its process"
    ),
    "--warm": _Option(
        lambda plan: any(work.warm is not None for work in plan.works),
        "only the launchers of the commands backend can fork a process",
        by_one=True,
    ),
    "--timeout": _Option(lambda plan: plan.limits.timeout is not None, "it measures no time"),
    "--output-cap": _Option(lambda plan: plan.limits.output_cap is not None, "it keeps no output"),
    "--grace": _Option(lambda plan: plan.limits.grace != Limits(jobs=1).grace, "it cannot stop a call", by_one=True),
    "--jobs": _Option(lambda plan: _several(plan), "it does one job after another"),
    "--chunk": _Option(lambda plan: plan.workers.chunk is not None, _NO_WORKERS, by_one=True),
    "--max-jobs-per-worker": _Option(lambda plan: plan.workers.max_jobs is not None, _NO_WORKERS, by_one=True),
    "--start-method": _Option(lambda plan: plan.workers.start_method != Workers().start_method, _NO_WORKERS, by_one=True),
}
_EVERY: Final = frozenset({"--timeout", "--output-cap"})
_PROCESS: Final = _EVERY | {"--workdir", "--env", "--nice", "--grace", "--jobs"}
_WORKERS: Final = _PROCESS | {"--chunk", "--max-jobs-per-worker", "--start-method"}
_COMMANDS: Final = _PROCESS | {"--stdin", "--allow-daemons"}

HONOURED: Final[dict[str, frozenset[str]]] = {
    "commands": _COMMANDS | {"--warm"},
    "command-threads": _COMMANDS,
    "ssh": _COMMANDS,
    "redis": _COMMANDS,
    "celery": _COMMANDS,
    "rq": _COMMANDS,
    "dask": _COMMANDS | _WORKERS,
    "processes": _WORKERS,
    "gevent": _PROCESS,
    "asyncio": _EVERY | {"--grace", "--jobs"},
    "threads": _EVERY | {"--jobs"},
    "interpreters": _EVERY | {"--jobs"},
    "serial": _EVERY,
    "fake": frozenset(_OPTIONS),
}
"""By backend; what is not here is refused with it by name."""


def refuse_ignored(plan: Plan) -> None:
    """Raise UsageError for an option that a backend of the plan, or of one of its stages, would ignore."""
    stages = [plan.stage(number) for number in range(1, 2 + len(plan.then))] if plan.then else [plan]
    for name, option in _OPTIONS.items():
        missing = [stage.backend for stage in stages if name not in honoured(stage)]
        if not missing or (name == "--jobs" and plan.then) or not option.given(plan):
            continue
        if not (option.by_one and len(missing) < len(stages)):
            raise UsageError(
                f"{given_as('--backend', missing[0])} cannot honour {option_name(name)}: {option.why}; leave it out, or choose another backend"
            )


def honoured(plan: Plan) -> frozenset[str]:
    """The options that the backend of a plan without stages honours."""
    if plan.backend == "auto":
        return _WORKERS if plan.work.is_function else HONOURED["commands"]
    return HONOURED[plan.backend]


def binding(*, workdir: str, environment: dict[bytes, bytes], nice: int, workers: Workers) -> str | None:
    """The first given option that only processes honour; None if there is none: then a function may be called anywhere."""
    given = {
        "--workdir": workdir != _here(),
        "--nice": nice != 0,
        "--env": any(
            os.environb.get(name) != value for name, value in environment.items() if not name.startswith(b"MH_")
        ),
        "--max-jobs-per-worker": workers.max_jobs is not None,
        "--chunk": workers.chunk is not None,
        "--start-method": workers.start_method != Workers().start_method,
    }
    return next((name for name, is_given in given.items() if is_given), None)


def _several(plan: Plan) -> bool:
    """Whether several jobs at once were requested, other than by default."""
    return plan.limits.climb or plan.limits.jobs not in (1, usable_cores())


def _here() -> str | None:
    """The working folder; None if it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None
