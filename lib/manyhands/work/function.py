"""A Python function as what is done with each input: found by name, its arguments decoded, checked before anything runs.

    'images:thumbnail'  --load-->  the function        (b"a.jpg",)  --arguments-->  (("a.jpg",), {})

It has the same interface as a command template (`manyhands.work.template`): `bind` gives what makes the identity of each job. An input
is passed as it is stored in the journal, so that a job of a resumed run gets exactly the same arguments.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import CoroutineType
from typing import Any, Final, Literal, cast, get_args

from manyhands.core.errors import InputError, ManyhandsError, UsageError
from manyhands.core.hashes import blake2b
from manyhands.core.hints import given_as
from manyhands.core.job import Arg, Values
from manyhands.core.records import dataclass, field, replace
from manyhands.core.serialization import description, fits_json, from_bytes, from_json, is_pickle
from manyhands.options.choices import Column, ResultKind
from manyhands.work.find_function import Function, load
from manyhands.work.plain_function import certainly_takes
from manyhands.work.work import Work, another

Kind = Literal[Column, "row", "line", "object", "value"]
AnyResult = Literal["value"] | ResultKind
"""For programs, also what it is (`manyhands.core.serialization`)."""

TYPES: Final = get_args(Column)
RESULTS: Final = get_args(ResultKind)

_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "str": os.fsdecode,
    "int": int,
    "float": float,
    "json": json.loads,
    "bytes": bytes,
    "path": lambda value: Path(os.fsdecode(value)),
}
_LARGE: Final = 1 << 63
_NOWHERE: Final = "?:"  # begins the name of a function that cannot be imported
_PICKLED: Final = b"\x80"  # the first byte of every pickle since protocol 2; no JSON text begins with it
_PICKLES: Final = b"\0" + _PICKLED  # the first bytes of what `_displayed` describes
_SHORT: Final = 1 << 10  # bytes up to which BLAKE2 is faster than SHA-256, for which processors have instructions


class BadInput(ValueError):
    """An input that is not of the requested type: the job fails with only this sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function to be called for each input.

    ``text`` is ``module:function`` or ``file.py:function``, found from ``folder``. ``type`` says what an input is: one of
    `TYPES`; ``row``: a JSON value, of which an object gives the keyword arguments and anything else is the one argument; ``line``:
    a JSON value, of which a list gives the arguments, as older versions read --jsonl; ``object``: the same, or a pickle, as `encode`
    makes it for programs; ``value``: what the stage before returned (`manyhands.core.serialization`). ``live`` is the function itself if a
    program gave it.
    """

    text: str
    folder: str
    type: Kind = "str"
    result: AnyResult = "json"
    initializer: str | None = None
    initargs: tuple[Any, ...] = ()
    chunked: bool = False
    """What it is called for comes and goes as `manyhands.work.chunks`; of type ``object``, results are kept as they are."""
    group: int | None = None
    """How many inputs a job may have: the function then gets a list of them."""
    named: tuple[str, ...] = field(default=(), compare=False)
    """Exceptions that an error is to name if it is one of them, whatever it is called itself (see `manyhands.core.limits.RetryOn`)."""
    live: Function | None = field(default=None, compare=False)
    live_initializer: Function | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.type not in get_args(Kind):
            raise UsageError(f"{given_as('--type', repr(self.type))}: choose one of {', '.join(TYPES)}")
        if self.result not in ("value", *RESULTS):
            raise UsageError(f"{given_as('--result', repr(self.result))}: choose one of {', '.join(RESULTS)}")

    @classmethod
    def of(cls, function: Function, **options: Any) -> Call:
        """A call of a function that a program passes; ``text`` names it as well as possible."""
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        file = getattr(module, "__file__", None)
        origin = (
            os.path.abspath(file)
            if file and module is sys.modules["__main__"]
            else getattr(module, "__name__", "__main__")
        )
        named = "<" not in name and not origin.endswith(("__main__", "<stdin>")) and hasattr(function, "__qualname__")
        return cls(text=f"{origin}:{name}" if named else _NOWHERE + name, folder=os.getcwd(), live=function, **options)

    # -- as a template (`manyhands.work.work.Work`) ----------------------------------------------------------------------

    @property
    def warm(self) -> None:
        """See `manyhands.work.work.Work`: its workers import what it needs anyway."""

    @property
    def is_function(self) -> bool:
        """It is."""
        return True

    @property
    def lines(self) -> bool:
        """Its inputs are not commands."""
        return False

    @property
    def reads_code(self) -> bool:
        """Its inputs are values."""
        return False

    @property
    def fields(self) -> tuple[str, ...]:
        """See `Template.fields`: all columns are used."""
        return ()

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return "function"

    @property
    def identity(self) -> tuple[object, ...]:
        """What must be the same for two runs to do the same work."""
        return (self.kind, self.text, self.folder, "json" if self.type == "value" else self.type)

    def bind(self, columns: Sequence[str] = (), *, width: int | None = None) -> CallRenderer:  # noqa: ARG002
        """Fit it to inputs with these column names, which become keyword arguments."""
        return CallRenderer(self, columns)

    def difference(self, before: Work, place: str) -> str | None:
        """See `manyhands.work.work.Work`."""
        if not isinstance(before, Call) or self.identity == before.identity or self.text != before.text:
            return another(self, before, place)
        if self.type != before.type:
            return f"gives the function{place} its inputs as {given_as('--type', before.type)}, this is {self.type}"
        return f"calls the function{place} of another folder ({before.folder}, this is {self.folder})"

    def to_json(self) -> dict[str, Any]:
        """Its part of run.json; the function itself stays out."""
        call = {
            "text": self.text,
            "folder": self.folder,
            "type": self.type,
            "result": self.result,
            "initializer": self.initializer,
            "initargs": list(self.initargs),
            "group": self.group,
        }
        return {"template": self.text, "shell": None, "call": call}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Call:
        """The inverse of `to_json`."""
        call = record["call"]
        return cls(**call | {"initargs": tuple(call["initargs"])})

    @property
    def is_named(self) -> bool:
        """Whether the function can be found by its name in another process."""
        return not self.text.startswith(_NOWHERE)

    @property
    def name(self) -> str:
        """The function's name for people."""
        return self.text.removeprefix(_NOWHERE)

    # -- the function ----------------------------------------------------------------------------------------------------

    def function(self) -> Function:
        """The function. Raises UsageError with one line if it cannot be imported."""
        if self.live is None and not self.is_named:
            raise UsageError(f"{self.name} was given by a program: only the same program can continue this run")
        return self.live or load(self.text, self.folder)

    def check(self) -> None:
        """Raise UsageError unless the function and its initializer can be imported."""
        self.function()
        if self.initializer:
            load(self.initializer, self.folder)

    def prepare(self, run: Callable[[Coroutine[Any, Any, Any]], Any] | None = None) -> Any:
        """Call the initializer, if there is one; if it is async, ``run`` (default: `asyncio.run`) gets its coroutine.

        Raises ManyhandsError if it fails.
        """
        initializer = self.live_initializer or (load(self.initializer, self.folder) if self.initializer else None)
        if initializer is None:
            return None
        try:
            found = initializer(*self.initargs)
            return (run or run_coroutine)(found) if isinstance(found, CoroutineType) else None
        except BaseException as error:  # an initializer may raise anything; it must not end the thread
            raise ManyhandsError(f"the initializer failed: {type(error).__name__}: {error}") from error

    def arguments(self, values: Values, columns: Sequence[str] = ()) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(arguments, keyword arguments) for one input. Raises BadInput for values that are not of the type."""
        if self.type == "object" and self.group is None:
            return _program_input(values[0])
        if self.group is not None:
            one = replace(self, group=None, type="json" if self.type in ("row", "line") else self.type)
            return ([one.arguments((value,))[0][0] for value in values],), {}
        if self.type == "value":
            return (from_bytes(values[0]),), {}
        if self.type == "row":
            found = json.loads(values[0])
            return ((), found) if isinstance(found, dict) else ((found,), {})
        if self.type == "line":
            return _spread(json.loads(values[0]))
        decode = _DECODERS[self.type]
        try:
            decoded = tuple(map(decode, values))
        except ValueError:
            shown = b" ".join(values)[:80].decode("utf-8", "replace")
            raise BadInput(f"the input {shown!r} is not of type {self.type}") from None
        return ((), dict(zip(columns, decoded, strict=True))) if columns else (decoded, {})


def _program_input(value: bytes | memoryview) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(arguments, keyword arguments) from what `encode` made; a view of it if it is large."""
    if value[:1] == _PICKLED:
        from manyhands.core.unpickling import unpickled

        args, kwargs = unpickled(value)  # `encode` made it, and the run's folder is ours alone
        return args, kwargs
    return _spread(from_json(bytes(value)))


def _spread(found: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A list gives the arguments, an object the keyword arguments, anything else is the only argument."""
    return ((), found) if isinstance(found, dict) else (tuple(found) if isinstance(found, list) else (found,), {})


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """`asyncio.run`, imported only when it is needed, because every worker process would have to wait for it."""
    import asyncio

    return asyncio.run(coroutine)


class CallRenderer:
    """A call fitted to its inputs: makes the identity of each job, and how it is shown."""

    def __init__(self, call: Call, columns: Sequence[str]) -> None:
        self._call, self._columns = call, tuple(columns)
        self._name = os.fsencode(call.text)
        self._hasher = blake2b(b"f" + os.fsencode(call.text) + b"\0" + call.type.encode() + b"\0", digest_size=16)
        self._checked = False
        self._may_be_pickles = call.type in ("object", "value")

    def key(self, values: Values) -> bytes:
        """16 bytes that identify (function, input). Raises InputError if the function cannot take the first input."""
        if not self._checked:
            self._checked = True
            self._check(values)
        hasher = self._hasher.copy()
        for value in values:
            if len(value) < _SHORT:
                hasher.update(b"%d:%b" % (len(value), value))
            else:
                hasher.update(b"%d#%b" % (len(value), _sha256()(value).digest()))
        return hasher.digest()

    def argv(self, values: Values, number: int) -> tuple[Arg, ...]:  # noqa: ARG002
        """How the job is shown: the function, then the columns of its input; of a pickle only its description."""
        if self._may_be_pickles:
            for value in values:
                if value[:1] in _PICKLES and value:
                    return (self._name, *map(_displayed, values))
        return (self._name, *values)

    def _check(self, values: Values) -> None:
        """Raise InputError for a wrong number of arguments, before anything is run, if Python knows the signature."""
        try:
            args, kwargs = self._call.arguments(values, self._columns)
        except ValueError as error:
            raise InputError(f"{self._call.text}: {error}") from None
        if certainly_takes(self._call.function(), args, kwargs):
            return
        import inspect  # here: it takes long, and most functions are plain

        try:
            signature = inspect.signature(self._call.function())
        except ValueError:  # some functions in C have no signature
            return
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            given = [*(f"{one!r:.40}" for one in args), *(f"{name}={one!r:.40}" for name, one in kwargs.items())]
            raise InputError(
                f"{self._call.text}{signature} cannot be called with ({', '.join(given)}): {error}"
            ) from None


@cache
def _sha256() -> Any:
    from hashlib import sha256  # here: most inputs are short

    return sha256


def _displayed(value: bytes) -> bytes:
    if is_pickle(value):
        return os.fsencode(description(value))
    return b"<a pickle of %d bytes>" % len(value) if value.startswith(_PICKLED) else value


def encode(item: object) -> bytes:
    """An input of a program as bytes: a tuple gives the arguments, a dict the keyword arguments, anything else is the only argument.

    JSON if that gives back exactly the same, so that people can read it, else a pickle. Raises InputError if neither is possible.
    """
    kind = type(item)
    if kind is int and -_LARGE < cast("int", item) < _LARGE:  # fast paths for the most common inputs
        return b"%d" % cast("int", item)
    if kind is str and item.isascii():  # type: ignore[attr-defined]
        return json.dumps(item).encode()
    if kind is not bytes and (text := _in_json(item)) is not None:
        return text
    import pickle  # here: most inputs are JSON

    args, kwargs = ((), item) if type(item) is dict else (item if type(item) is tuple else (item,), {})
    try:
        if not all(type(name) is str for name in kwargs):
            args, kwargs = (item,), {}
        return pickle.dumps((args, kwargs), protocol=5)
    except Exception as error:  # a __reduce__ may raise anything
        raise InputError(f"the input {item!r:.80} cannot be pickled: {type(error).__name__}: {error}") from None


def _in_json(item: object) -> bytes | None:
    """An input as JSON, if that gives back exactly the same."""
    with suppress(ValueError, RecursionError):  # a number of 5,000 digits, a list that holds itself
        if fits_json(item) or (type(item) is tuple and all(map(fits_json, item))):
            whole = [item] if type(item) is list else item
            text = json.dumps(whole)
            if "\\ud" not in text or json.dumps(json.loads(text), ensure_ascii=False) == json.dumps(
                whole, ensure_ascii=False
            ):
                return text.encode()
    return None


def decode(call: Call, values: Values) -> Any:
    """An input that equals the one that `encode` got; a tuple with one item cannot be told from that item."""
    args, kwargs = call.arguments(values)
    if kwargs:
        return kwargs
    return args[0] if len(args) == 1 and not (isinstance(args[0], tuple | dict)) else args
