"""What `run_batch` takes beside the work and the inputs: what the tasks take, too, and what only programs have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from manyhands.inputs.reader_thread import Pulling
from manyhands.options.batch import Commands, Execution, State, Workers
from manyhands.options.declaration import Options
from manyhands.storage.output import Printed
from manyhands.work.function import AnyResult

F = TypeVar("F", bound=Callable[..., Any])


class RunOptions(Execution, Commands, Workers, State):
    """How a batch is carried out; `run_batch` says what each means. Made once, it serves many: ``run_batch(f, xs, options=OPTIONS)``.

    ``dataclasses.replace(options, jobs=4)`` makes another that differs in some.
    """

    ordered: bool = False
    env: Mapping[str, str] | None = None
    backend: str | None = None
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


def collected(kind: type[Options]) -> Callable[[F], F]:
    """Let a function find its keyword arguments in its argument ``options``, an object of ``kind``.

    Its signature is for readers and type checkers, who cannot see the fields of ``kind`` through it; a test holds the two together.
    """

    def decorate(body: F) -> F:
        @functools.wraps(body)
        def collecting(*args: Any, options: Options | None = None, **keywords: Any) -> Any:
            named = {name: keywords.pop(name) for name in list(keywords) if name in kind.__dataclass_fields__}
            return body(*args, options=kind(**named) if options is None else replace(options, **named), **keywords)

        return cast(F, collecting)

    return decorate
