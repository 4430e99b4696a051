"""What `run_batch` takes beside the work and the inputs: what the tasks take, too, and what only programs have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from manyhands.core.records import fields_of, replace
from manyhands.inputs.reader_thread import Pulling
from manyhands.options.batch import Commands, Execution, Workers
from manyhands.options.common import State
from manyhands.storage.output import Printed
from manyhands.work.function import AnyResult

R = TypeVar("R")


class RunOptions(Execution, Commands, Workers, State):
    """How a batch is carried out; `run_batch` says what each means. Made once, it serves many: ``run_batch(f, xs, options=OPTIONS)``.

    ``dataclasses.replace(options, jobs=4)`` makes another that differs in some.
    """

    ordered: bool = False
    env: Mapping[str, str] | None = None
    backend: str | None = None
    cluster: Any = None
    result: AnyResult = "value"
    initializer: Callable[..., Any] | str | None = None
    initargs: Sequence[Any] = ()
    chunk: int | None = None
    pull: Pulling = "thread"
    handle_signals: bool = True
    check: bool = False
    output: Printed | None = None
    journal: bool = True
    progress: bool = False


def collected(body: Callable[[Any, Any, RunOptions], R]) -> Callable[..., R]:
    """Let ``body`` find its keyword arguments in its argument ``options``.

    `help` shows them one by one. Type checkers cannot see the fields of a class as keywords: for them they stand once more in
    `manyhands.api.keywords`.
    """

    @functools.wraps(body)
    def collecting(work: Any, inputs: Any, *, options: RunOptions | None = None, **keywords: Any) -> R:
        if unknown := keywords.keys() - fields_of(RunOptions).keys():
            raise TypeError(f"{body.__name__}() got an unexpected keyword argument {min(unknown)!r}")
        return body(work, inputs, RunOptions(**keywords) if options is None else replace(options, **keywords))

    vars(collecting)["__signature__"] = _one_by_one(inspect.signature(body))
    return collecting


def _one_by_one(given: inspect.Signature) -> inspect.Signature:
    """A signature with the fields as keywords in front of ``options``: first those that tasks have, too."""
    *parameters, options = given.parameters.values()
    fields = inspect.signature(RunOptions).parameters
    names = dict.fromkeys(
        name for cls in (*RunOptions.__mro__[1:], RunOptions) for name in getattr(cls, "own_fields", ())
    )
    parameters += [fields[name] for name in names]
    return given.replace(parameters=[*parameters, options.replace(kind=options.KEYWORD_ONLY, default=RunOptions())])
