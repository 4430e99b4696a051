"""What travels between a coordinator and the workers of a cluster. Dask pickles it: whoever reaches a cluster can run code there anyway.

    settings, attempts --> worker        Began, Over, Remark --> coordinator

Moments are those of the worker's monotonic clock.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.attempt import Arg, Attempt, AttemptId, Ending, Job, Values
from manyhands.core.errors import UsageError
from manyhands.core.records import replace
from manyhands.work.find_function import Function, load
from manyhands.work.function import Call

TOPIC: Final = "manyhands"
"""The topic of the events that workers log."""

Sent = tuple[int, int, "Values | tuple[Arg, ...]"]
"""An attempt on its way: the numbers of job and attempt, and the values of a function or the arguments of a command."""


class Began(NamedTuple):
    """An attempt has begun."""

    id: AttemptId
    at: float
    slot: int
    pid: int


class Over(NamedTuple):
    """An attempt has ended; an output that is in a file of the worker has to be fetched. ``stopped``: it had been asked to end.
    ``again``: it has not begun, and should be given to another worker."""

    id: AttemptId
    at: float
    ending: Ending
    began: bool = True
    died: bool = False
    pid: int = 0
    stopped: bool = False
    again: bool = False


class Remark(NamedTuple):
    """Something that the user should know."""

    text: str


Told = Began | Over | Remark


class Greeting(NamedTuple):
    """What a worker says when its site is opened: its clock and its versions."""

    at: float
    python: str
    manyhands: str


def sent(attempt: Attempt, *, function: bool) -> Sent:
    """An attempt as it travels."""
    return attempt.job.number, attempt.number, attempt.job.values if function else attempt.argv


def arrived(one: Sent, call: Call | None) -> Attempt:
    """The attempt again, as a local backend wants it."""
    job, number, parts = one
    if call is None:
        return Attempt(Job(job, b"", ()), number, parts)
    values: Any = parts
    return Attempt(Job(job, b"", values), number, (call.text.encode(), *values))


# -- settings, and the functions in them ---------------------------------------------------------------------------------


class Baggage(NamedTuple):
    """The settings of an execution. A function travels by its name, and as ``values``, the function and its initializer as cloudpickle
    writes them, for workers that have no module of that name."""

    settings: CommandSettings | FunctionSettings
    values: tuple[bytes | None, bytes | None] = (None, None)


def packed(settings: CommandSettings | FunctionSettings) -> Baggage:
    """The settings, without what belongs to this machine."""
    plain = replace(settings, keep_open=(), cluster=None, broker=None)
    if not isinstance(plain, FunctionSettings):
        return Baggage(plain)
    call = plain.call
    initializer = call.live_initializer or (load(call.initializer, call.folder) if call.initializer else None)
    values = _by_value(call.function()), None if initializer is None else _by_value(initializer)
    if call.live_initializer is not None and values[1] is None:
        raise UsageError("the initializer cannot be pickled")
    return Baggage(replace(plain, call=replace(call, live=None, live_initializer=None)), values)


def unpacked(baggage: Baggage, slots: int, outputs: Any) -> CommandSettings | FunctionSettings:
    """The settings of the local backend at a worker, with as many slots as the worker has threads."""
    given = baggage.settings
    settings = replace(
        given,
        slots=slots,
        outputs=outputs,
        environment=dict(os.environb) | dict(given.environment),
        workdir=type(given.workdir)(os.path.join(os.getcwd(), given.workdir)),
        disposable=True,
    )
    if isinstance(settings, CommandSettings):
        return replace(settings, launchers=slots)
    import cloudpickle

    function, initializer = baggage.values
    call = settings.call
    live = _found(call, function)
    if initializer is not None:
        call = replace(call, initializer=None, live_initializer=cloudpickle.loads(initializer))
    return replace(settings, call=replace(call, live=live))


def _found(call: Call, value: bytes | None) -> Function | None:
    """The function if it has come by value, and its name means nothing here; None: it is found by its name."""
    if call.is_named and not _of_main(call):
        with suppress(UsageError):
            load(call.text, call.folder)
            return None
    if value is None:
        return None
    import cloudpickle

    return cloudpickle.loads(value)  # type: ignore[no-any-return]


def _of_main(call: Call) -> bool:
    """Whether it may be of a script, whose module is another one in every process."""
    return call.text.partition(":")[0].endswith(".py") and os.path.isabs(call.text)


def _by_value(function: Any) -> bytes | None:
    """A function with its code, and that of the other functions of its module which it calls; None if that is not possible."""
    import cloudpickle

    module = sys.modules.get(getattr(function, "__module__", None) or "")
    try:
        if module is None or module.__name__ == "__main__" or _is_installed(module):
            return cloudpickle.dumps(function)  # type: ignore[no-any-return]
        cloudpickle.register_pickle_by_value(module)
        try:
            return cloudpickle.dumps(function)  # type: ignore[no-any-return]
        finally:
            cloudpickle.unregister_pickle_by_value(module)
    except Exception:  # whatever its globals raise: it is found by name, or not at all
        return None


def _is_installed(module: Any) -> bool:
    """Whether the module is of Python or of a package: then each worker needs the same one."""
    file = getattr(module, "__file__", None)
    return file is None or "site-packages" in file or file.startswith((sys.prefix, sys.base_prefix))


def names_of(attempts: Sequence[Attempt]) -> str:
    """``7.1``, or for several ``7.1-9.1``: the part of a key that people read."""
    first, last = attempts[0], attempts[-1]
    name = f"{first.job.number}.{first.number}"
    return name if first is last else f"{name}-{last.job.number}.{last.number}"
