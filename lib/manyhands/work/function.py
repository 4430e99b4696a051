"""A Python function as what is done with each input: found by name, its arguments decoded, checked before anything runs.

    'images:thumbnail'  --load-->  the function        (b"a.jpg",)  --arguments-->  (("a.jpg",), {})

It stands where a command template stands (`manyhands.work.template`): `bind` gives what makes the identity of each job. An input
reaches the function as it is kept in the journal, so that a job of a resumed run gets exactly what it would have got.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, cast, get_args

from manyhands.core.errors import InputError, ManyhandsError, UsageError
from manyhands.core.hints import given_as
from manyhands.core.job import Arg, Values
from manyhands.core.values import description, fits_json, from_bytes, is_pickle
from manyhands.runtime.search_path import search

Function = Callable[..., Any]
Kind = Literal["str", "int", "float", "json", "path", "bytes", "row", "line", "object", "value"]
ResultKind = Literal["json", "repr", "none", "pickle-file"]
"""What ``--result`` can ask for."""
AnyResult = Literal["value"] | ResultKind
"""For programs, also what it is (`manyhands.core.values`)."""

TYPES: Final = ("str", "int", "float", "json", "path", "bytes")
"""What ``--type`` can ask for; each column of an input becomes one argument of that type."""
RESULTS: Final = get_args(ResultKind)

_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "str": os.fsdecode, "int": int, "float": float, "json": json.loads, "bytes": bytes,
    "path": lambda value: Path(os.fsdecode(value)),
}  # fmt: skip
_LARGE: Final = 1 << 63
_importing = threading.RLock()
_NOWHERE: Final = "?:"  # begins the name of a function that cannot be imported
_PICKLED: Final = b"\x80"  # the first byte of every pickle since protocol 2; no JSON text begins with it


class BadInput(ValueError):
    """An input that is not of the type that was asked for: the job fails with this sentence alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function to be called for each input.

    ``text`` is ``module:function`` or ``file.py:function``, found from ``folder``. ``type`` says what an input is: one of
    `TYPES`; ``row``: a JSON value, of which an object gives the keyword arguments and anything else is the one argument; ``line``:
    a JSON value, of which a list gives the arguments, as older versions read --jsonl; ``object``: the same, or a pickle, as `encode`
    makes it for programs; ``value``: what the stage before returned (`manyhands.core.values`). ``live`` is the function itself if a
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
    """How many inputs a job may have: the function is then given a list of them."""
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
        """A call of a function that a program has at hand; ``text`` names it as well as it can be named."""
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

    # -- what a template has, too ----------------------------------------------------------------------------------------

    @property
    def shell(self) -> None:
        """See `Template.shell`: a function needs none."""

    @property
    def args(self) -> None:
        """See `Template.args`."""

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

    def to_json(self) -> dict[str, Any]:
        """For run.json; the function itself stays out."""
        return {
            "text": self.text, "folder": self.folder, "type": self.type, "result": self.result,
            "initializer": self.initializer, "initargs": list(self.initargs), "group": self.group,
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Call:
        """The inverse of `to_json`."""
        return cls(**record | {"initargs": tuple(record["initargs"])})

    @property
    def is_named(self) -> bool:
        """Whether the function can be found by its name in another process."""
        return not self.text.startswith(_NOWHERE)

    @property
    def name(self) -> str:
        """The function for people."""
        return self.text.removeprefix(_NOWHERE)

    # -- the function ----------------------------------------------------------------------------------------------------

    def function(self) -> Function:
        """The function. Raises UsageError with one line when it cannot be had."""
        if self.live is None and not self.is_named:
            raise UsageError(f"{self.name} was given by a program: only the same program can go on with this run")
        return self.live or load(self.text, self.folder)

    def check(self) -> None:
        """Raise UsageError unless the function and its initializer can be had."""
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
            return (run or run_coroutine)(found) if inspect.iscoroutine(found) else None
        except BaseException as error:  # whatever an initializer raises, it is not for the thread that it prepares
            raise ManyhandsError(f"the initializer failed: {type(error).__name__}: {error}") from error

    def arguments(self, values: Values, columns: Sequence[str] = ()) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(arguments, keyword arguments) for one input. Raises BadInput for values that are not of the type."""
        if self.group is not None:
            one = replace(self, group=None, type="json" if self.type in ("row", "line") else self.type)
            return ([one.arguments((value,))[0][0] for value in values],), {}
        if self.type == "value":
            return (from_bytes(values[0]),), {}
        if self.type == "row":
            found = json.loads(values[0])
            return ((), found) if isinstance(found, dict) else ((found,), {})
        if self.type in ("line", "object"):
            if self.type == "object" and values[0].startswith(_PICKLED):
                args, kwargs = pickle.loads(values[0])  # noqa: S301 - `encode` made it, and the run's folder is ours alone
                return args, kwargs
            found = json.loads(values[0])
            return ((), found) if isinstance(found, dict) else (tuple(found) if isinstance(found, list) else (found,), {})
        decode = _DECODERS[self.type]
        try:
            decoded = tuple(map(decode, values))
        except ValueError:
            shown = b" ".join(values)[:80].decode("utf-8", "replace")
            raise BadInput(f"the input {shown!r} is not of type {self.type}") from None
        return ((), dict(zip(columns, decoded, strict=True))) if columns else (decoded, {})


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """`asyncio.run`, which is imported when somebody needs it: every worker process would have to wait for it."""
    import asyncio

    return asyncio.run(coroutine)


class CallRenderer:
    """A call that fits its inputs: the identity of each job, and how it is shown."""

    def __init__(self, call: Call, columns: Sequence[str]) -> None:
        self._call, self._columns = call, tuple(columns)
        self._name = os.fsencode(call.text)
        self._hasher = blake2b(b"f" + os.fsencode(call.text) + b"\0" + call.type.encode() + b"\0", digest_size=16)
        self._checked = False

    def key(self, values: Values) -> bytes:
        """16 bytes that identify (function, input). Raises InputError if the function cannot take the first input."""
        if not self._checked:
            self._checked = True
            self._check(values)
        hasher = self._hasher.copy()
        for value in values:
            hasher.update(b"%d:" % len(value))
            hasher.update(value)
        return hasher.digest()

    def argv(self, values: Values, number: int) -> tuple[Arg, ...]:  # noqa: ARG002
        """How the job is shown: the function, then the columns of its input; a pickle only by what is known of it."""
        if self._call.type in ("object", "value"):
            values = tuple(map(_displayed, values))
        return (self._name, *values)

    def _check(self, values: Values) -> None:
        """A wrong number of arguments is found before anything is run, wherever Python can tell."""
        try:
            args, kwargs = self._call.arguments(values, self._columns)
        except ValueError as error:
            raise InputError(f"{self._call.text}: {error}") from None
        try:
            signature = inspect.signature(self._call.function())
        except ValueError:  # some functions in C do not tell
            return
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            given = [*(f"{one!r:.40}" for one in args), *(f"{name}={one!r:.40}" for name, one in kwargs.items())]
            raise InputError(
                f"{self._call.text}{signature} cannot be called with ({', '.join(given)}): {error}"
            ) from None


def _displayed(value: bytes) -> bytes:
    if is_pickle(value):
        return os.fsencode(description(value))
    return b"<a pickle of %d bytes>" % len(value) if value.startswith(_PICKLED) else value


def encode(item: object) -> bytes:
    """An input of a program as bytes: a tuple gives the arguments, a dict the keyword arguments, anything else is the one.

    JSON if that gives back exactly the same, so that people can read it, else a pickle. Raises InputError if neither can.
    """
    kind = type(item)
    if kind is int and -_LARGE < cast("int", item) < _LARGE:  # the short ways for what is most often given
        return b"%d" % cast("int", item)
    if kind is str and item.isascii():  # type: ignore[attr-defined]
        return json.dumps(item).encode()
    with suppress(ValueError, RecursionError):  # a number of 5,000 digits, a list that holds itself
        if fits_json(item) or (type(item) is tuple and all(map(fits_json, item))):
            whole = [item] if type(item) is list else item
            text = json.dumps(whole)
            if "\\ud" not in text or json.dumps(json.loads(text), ensure_ascii=False) == json.dumps(
                whole, ensure_ascii=False
            ):
                return text.encode()
    args, kwargs = ((), item) if type(item) is dict else (item if type(item) is tuple else (item,), {})
    try:
        if not all(type(name) is str for name in kwargs):
            args, kwargs = (item,), {}
        return pickle.dumps((args, kwargs), protocol=5)
    except Exception as error:  # whatever a __reduce__ may raise
        raise InputError(f"the input {item!r:.80} cannot be pickled: {type(error).__name__}: {error}") from None


def decode(call: Call, values: Values) -> Any:
    """An input that equals the one that `encode` was given; the arguments tell nothing of a list and a tuple that holds it."""
    args, kwargs = call.arguments(values)
    if kwargs:
        return kwargs
    return args[0] if len(args) == 1 and not (isinstance(args[0], tuple | dict)) else args


def load(text: str, folder: str) -> Function:
    """The function that ``module:function`` or ``file.py:function`` names, looked for from ``folder``, too.

    Raises UsageError: not of this form, not importable, no such function (with what is like it), not callable.
    """
    origin, colon, name = text.rpartition(":")
    if not colon or not origin or not name:
        dotted = ".".join(text.split(".")[:-1]), text.split(".")[-1]
        hint = f"; perhaps {dotted[0]}:{dotted[1]}" if all(dotted) and not text.endswith(".py") else ""
        raise UsageError(f"{text!r} names no function: expected module:function or file.py:function{hint}")
    module = _module(origin, folder)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [one for one in dir(found) if not one.startswith("_")], 1, 0.75)
            raise UsageError(f"{origin} has no {name}" + (f"; did you mean {near[0]}?" if near else ""))
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{text} is not a function but {_article(type(found).__name__)}")
    return found  # type: ignore[no-any-return]  # it is callable


def _module(origin: str, folder: str) -> ModuleType:
    """Import a module by its name or file, from ``folder`` too. Raises UsageError."""
    is_file = origin.endswith(".py") or os.sep in origin
    path = os.path.join(folder, origin)
    home = os.path.dirname(path) if is_file else folder
    search(home)
    try:
        return _from_file(path) if is_file else _by_name(origin)
    except FileNotFoundError as error:
        if is_file and error.filename == path:
            raise UsageError(f"there is no file {origin}") from None
        raise UsageError(_why(origin, error)) from None
    except ModuleNotFoundError as error:
        if error.name and (origin == error.name or origin.startswith(error.name + ".")):
            raise UsageError(f"there is no module {error.name!r}, neither in {folder} nor installed") from None
        raise UsageError(_why(origin, error)) from None
    except BaseException as error:  # whatever a module raises, but for our own Ctrl-C
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(_why(origin, error)) from None


def _by_name(name: str) -> ModuleType:
    """As the import statement has it; what the module prints then is no result of a job."""
    found = sys.modules.get(name)
    if found is not None and not getattr(getattr(found, "__spec__", None), "_initializing", False):
        return found
    with redirect_stdout(sys.stderr):
        return importlib.import_module(name)


def _from_file(path: str) -> ModuleType:
    """The module of a file; the same again when it is asked for again."""
    with _importing:  # as Python's own import has it: nobody sees a module that is half made
        return _from_file_alone(path)


def _from_file_alone(path: str) -> ModuleType:
    name = Path(path).stem
    loaded = sys.modules.get(name)
    if loaded is not None and os.path.abspath(getattr(loaded, "__file__", None) or "") == os.path.abspath(path):
        return loaded
    if loaded is not None:  # another module has that name: leave it alone
        name = f"{name}@{path}"
        if name in sys.modules:
            return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _why(origin: str, error: BaseException) -> str:
    """One line for what went wrong in somebody's module, with the place."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "importlib" not in one.filename]
    last = frames[-1] if frames else None
    place = f" ({os.path.basename(last.filename)}, line {last.lineno})" if last and last.filename != __file__ else ""
    said = " ".join(str(error).split())
    return f"cannot import {origin}: {type(error).__name__}{': ' * bool(said)}{said}{place}"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
