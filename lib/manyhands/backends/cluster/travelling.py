"""What travels between a coordinator and the workers of a cluster. Dask pickles it: whoever reaches a cluster can run code there anyway.

    settings, attempts --> worker        Began, Over, Remark --> coordinator

Moments are those of the worker's monotonic clock.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.attempt import Arg, Attempt, AttemptId, Ending, Job, Values
from manyhands.core.errors import UsageError
from manyhands.core.records import replace
from manyhands.work.find_function import load
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


def ends_packed(ends: Sequence[Over]) -> bytes:
    """How the attempts of a task have ended, as one object for Dask, which measures every part of what it does not know; and as plain tuples,
    which cost pickle less than named ones."""
    return pickle.dumps([(*one[:2], (*one.ending,), *one[3:]) for one in ends], pickle.HIGHEST_PROTOCOL)


def ends_unpacked(data: bytes) -> list[Over]:
    """The inverse."""
    found = pickle.loads(data)  # noqa: S301 - the workers of a cluster are trusted, see docs/dask.md
    return [Over(id, at, Ending(*ending), *rest) for id, at, ending, *rest in found]


class Remark(NamedTuple):
    """Something that the user should know."""

    text: str


class Failure(NamedTuple):
    """The site can do no attempts; says why."""

    why: str


Told = Began | Over | Remark | Failure


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
    """The settings of an execution. Function and initializer travel by their names, and ``by_value``, as cloudpickle writes the two, for
    workers that have no such modules."""

    settings: CommandSettings | FunctionSettings
    by_value: bytes | None = None
    for_program: bool = False
    """Whether a program gave the function, which then gets what it raises."""


def packed(settings: CommandSettings | FunctionSettings) -> Baggage:
    """The settings, without what belongs to this machine. Raises UsageError for an initializer that cannot travel."""
    plain = replace(settings, keep_open=(), cluster=None, broker=None)
    if not isinstance(plain, FunctionSettings):
        return Baggage(plain)
    call = plain.call
    initializer, name = call.live_initializer, call.initializer
    if initializer is not None:
        name = Call.of(initializer).text
    elif name is not None:
        initializer = load(name, call.folder)
    by_value = _by_value(call.function(), initializer)
    if by_value is None and not (call.is_named and (name is None or not _is_nowhere(name))):
        raise UsageError(f"{call.name} cannot be pickled, and has no name by which workers could import it")
    nameless = replace(call, initializer=name, live=None, live_initializer=None)
    return Baggage(replace(plain, call=nameless), by_value, call.live is not None)


def unpacked(baggage: Baggage, slots: int, outputs: Any) -> CommandSettings | FunctionSettings:
    """The settings of the local backend at a worker."""
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
    call = settings.call
    if baggage.by_value is None or _are_here(call):
        return replace(settings, call=replace(call, live=call.function())) if baggage.for_program else settings
    import cloudpickle

    live, initializer = cloudpickle.loads(baggage.by_value)
    return replace(settings, call=replace(call, live=live, initializer=None, live_initializer=initializer))


def _are_here(call: Call) -> bool:
    """Whether the names of function and initializer mean something here. What is of a script, whose module is another one in every
    process, had better come by value."""
    names = [call.text, *([call.initializer] if call.initializer else [])]
    if any(map(_is_nowhere, names)) or any(os.path.isabs(name) for name in names):
        return False
    try:
        for name in names:
            load(name, call.folder)
    except UsageError:
        return False
    return True


def _is_nowhere(name: str) -> bool:
    return not Call(text=name, folder="").is_named


def _by_value(*functions: Any) -> bytes | None:
    """Functions with their code, and that of the other functions of their modules which they call; None if that is not possible."""
    import cloudpickle

    modules = {sys.modules.get(getattr(one, "__module__", None) or "") for one in functions if one is not None}
    ours = [one for one in modules if one is not None and one.__name__ != "__main__" and not _is_installed(one)]
    try:
        for module in ours:
            cloudpickle.register_pickle_by_value(module)
        return cloudpickle.dumps(functions)  # type: ignore[no-any-return]
    except KeyboardInterrupt:
        raise
    except BaseException:  # what a module has may raise anything when it is pickled: then names have to do
        return None
    finally:
        for module in ours:
            with suppress(ValueError):
                cloudpickle.unregister_pickle_by_value(module)


def _is_installed(module: Any) -> bool:
    """Whether the module is of Python or of a package: then each worker needs the same one."""
    file = getattr(module, "__file__", None)
    return file is None or "site-packages" in file or file.startswith((sys.prefix, sys.base_prefix))


def names_of(attempts: Sequence[Attempt]) -> str:
    """``7.1``, or for several ``7.1-9.1``: the part of a key that people read."""
    first, last = attempts[0], attempts[-1]
    name = f"{first.job.number}.{first.number}"
    return name if first is last else f"{name}-{last.job.number}.{last.number}"
