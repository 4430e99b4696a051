"""Records: dataclasses whose methods are made when they are first used.

    @dataclass(frozen=True, slots=True)
    class Halt:                      --dataclass--> the same class with slots, its fields, and the general methods below
        failures: int = 0            --Halt(3)--> its __init__, compiled for these fields by the first call

`dataclasses.dataclass` compiles six methods for a class, which takes a millisecond, and its module imports `inspect`: with our thirty
classes that was a fifth of a start. A record is declared, made, shown, compared, copied and pickled like a dataclass, and
`dataclasses` takes it for one. Separate and at the bottom: what every start imports is made of records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

TYPE_CHECKING = False  # for type checkers, as `typing` has it

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
    from typing import Any, NoReturn

__all__ = [
    "FIELDS",
    "MISSING",
    "PARAMS",
    "Field",
    "dataclass",
    "field",
    "fields_of",
    "make_fields",
    "refuse_to_delete",
    "refuse_to_set",
    "replace",
    "values_of",
]


class _Mark:
    """A value that is no other one, and is shown as ``text``."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


MISSING: Any = _Mark("MISSING")
"""What stands for no default."""
_BY_FACTORY: Any = _Mark("<factory>")


class Field:
    """What is said of a field; ``type`` is its annotation, as it is written."""

    __slots__ = ("compare", "default", "default_factory", "kw_only", "metadata", "name", "type")

    def __init__(
        self,
        default: Any = MISSING,
        default_factory: Any = MISSING,
        compare: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.type, self.kw_only = "", "", False
        self.default, self.default_factory, self.compare = default, default_factory, compare
        self.metadata: Mapping[str, Any] = metadata or {}


def make_fields(cls: type, *, kw_only: bool) -> None:
    """Give ``cls`` the fields that its body declares, after those of its bases. A default is also an attribute of the class."""
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        found |= vars(base).get("__record_fields__", {})
    own = (
        cls.__annotations__ if sys.version_info >= (3, 10) else vars(cls).get("__annotations__", {})
    )  # not those of a base
    for name, annotation in own.items():
        if str(annotation).startswith("ClassVar"):
            continue
        given = vars(cls).get(name, MISSING)
        one = found[name] = given if isinstance(given, Field) else Field(given)
        one.name, one.type, one.kw_only = name, annotation, kw_only
        if given is one and one.default is MISSING:
            delattr(cls, name)
        elif given is one:
            setattr(cls, name, one.default)
    type.__setattr__(cls, "__record_fields__", found)


def fields_of(cls: type) -> dict[str, Field]:
    """The fields of a record by name, those of its bases first."""
    found: dict[str, Field] = vars(cls).get("__record_fields__") or cls.__record_fields__  # type: ignore[attr-defined]
    return found


def values_of(one: object) -> dict[str, Any]:
    """The values of a record by name, as they are (`dataclasses.asdict` takes them apart, too)."""
    return {name: getattr(one, name) for name in fields_of(type(one))}


class _Interoperable:
    """An attribute that `dataclasses` looks for in a dataclass: made for a class of records when it is wanted."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        same = vars(owner).get("__same__")
        if same is None:
            same = _as_dataclass(owner)
            setattr(owner, "__same__", same)  # noqa: B010 - it is no attribute of any class
        return getattr(same, self._name)


FIELDS: Any = _Interoperable("__dataclass_fields__")
PARAMS: Any = _Interoperable("__dataclass_params__")


def _as_dataclass(cls: type) -> type:
    """A dataclass with the fields of ``cls``."""
    import dataclasses

    def field_of(one: Field) -> Any:
        given = {name: value for name in ("default", "default_factory") if (value := getattr(one, name)) is not MISSING}
        return dataclasses.field(**given, compare=one.compare, kw_only=one.kw_only, metadata=one.metadata)

    fields = [(one.name, one.type, field_of(one)) for one in fields_of(cls).values()]
    return dataclasses.make_dataclass(cls.__name__, fields, init=False, repr=False, eq=False, frozen=_is_frozen(cls))


# -- the methods of records -----------------------------------------------------------------------------------------------


class _Init:
    """``__init__`` of a class of which there is no object yet."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._cls = owner

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if vars(self._cls)["__init__"] is self:
            self._cls.__init__ = _compiled(self._cls)
        return vars(self._cls)["__init__"].__get__(instance, owner)


def _compiled(cls: type) -> Any:
    """An ``__init__`` with the fields of ``cls`` as parameters; the compiler is the only way to one that is fast."""
    ordered = sorted(fields_of(cls).values(), key=lambda one: one.kw_only)
    given: dict[str, Any] = {"set_": object.__setattr__, "BY_FACTORY": _BY_FACTORY}
    parameters, body = ["self"], []
    for number, one in enumerate(ordered):
        if one.kw_only and "*" not in parameters:
            parameters.append("*")
        parameter, value = one.name, one.name
        if one.default_factory is not MISSING:
            given[f"make{number}"] = one.default_factory
            parameter, value = f"{one.name}=BY_FACTORY", f"make{number}() if {one.name} is BY_FACTORY else {one.name}"
        elif one.default is not MISSING:
            given[f"default{number}"] = one.default
            parameter = f"{one.name}=default{number}"
        parameters.append(parameter)
        body.append(f"set_(self, {one.name!r}, {value})" if _is_frozen(cls) else f"self.{one.name} = {value}")
    body += ["self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    lines = "\n  ".join(body or ["pass"])
    source = f"def make({', '.join(given)}):\n def __init__({', '.join(parameters)}):\n  {lines}\n return __init__"
    within: dict[str, Any] = {}
    exec(source, vars(sys.modules[cls.__module__]), within)  # noqa: S102 - the names of fields are ours
    made = within["make"](**given)
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__annotations__ = {one.name: one.type for one in ordered} | {"return": None}
    return made


def _is_frozen(cls: type) -> bool:
    refused: object = refuse_to_set
    set_by: object = cls.__setattr__
    return set_by is refused


def _values(one: object, names: Iterable[str]) -> list[Any]:
    return [getattr(one, name) for name in names]


def _compared(cls: type) -> Iterator[str]:
    return (one.name for one in fields_of(cls).values() if one.compare)


def _repr(self: object) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in fields_of(type(self)))
    return f"{type(self).__qualname__}({shown})"


def _eq(self: object, other: object) -> object:
    if type(self) is not type(other):
        return NotImplemented
    names = [*_compared(type(self))]
    return _values(self, names) == _values(other, names)


def _hash(self: object) -> int:
    return hash(tuple(_values(self, _compared(type(self)))))


def refuse_to_set(_: object, name: str, _value: object) -> NoReturn:
    """As ``__setattr__``: nothing of a frozen record changes."""
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def refuse_to_delete(_: object, name: str) -> NoReturn:
    """As ``__delattr__``."""
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: object) -> list[Any]:
    return _values(self, fields_of(type(self)))


def _setstate(self: object, state: Iterable[Any]) -> None:
    for name, value in zip(fields_of(type(self)), state):
        object.__setattr__(self, name, value)


def _replaced(self: Any, /, **changes: Any) -> Any:
    """Another one, which differs in ``changes``."""
    return type(self)(**values_of(self) | changes)


# -- the decorator --------------------------------------------------------------------------------------------------------


_METHODS: dict[str, Any] = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__replace__": _replaced,
    "__dataclass_fields__": FIELDS,
    "__dataclass_params__": PARAMS,
}
"""What every record gets, unless its class has it."""


def _dataclass(*, frozen: bool = False, slots: bool = False, kw_only: bool = False) -> Callable[[type], type]:
    """Make a class a record; each option means what it means to `dataclasses.dataclass`."""

    def made(cls: type) -> type:
        make_fields(cls, kw_only=kw_only)
        positional = tuple(one.name for one in fields_of(cls).values() if not one.kw_only)
        methods: dict[str, Any] = _METHODS | {"__hash__": _hash if frozen else None, "__match_args__": positional}
        if frozen:
            methods |= {"__setattr__": refuse_to_set, "__delattr__": refuse_to_delete}
        if frozen and slots:
            methods |= {"__getstate__": _getstate, "__setstate__": _setstate}
        wanted = {name: method for name, method in methods.items() if name not in vars(cls)} | {"__init__": _Init()}
        if slots:
            return _with_slots(cls, wanted)
        for name, method in wanted.items():
            setattr(cls, name, method)
        wanted["__init__"].__set_name__(cls, "__init__")
        return cls

    return made


def _with_slots(cls: type, methods: Mapping[str, Any]) -> type:
    """``cls`` again, with ``methods``: slots can be given to a class only when it is made, and each method given later takes longer."""
    names = fields_of(cls)
    kept = {name: value for name, value in vars(cls).items() if name not in {"__dict__", "__weakref__", *names}}
    has = {name for base in cls.__mro__[1:] for name in vars(base).get("__slots__", ())}
    slots = tuple(name for name in names if name not in has)
    again = type(cls)(cls.__name__, cls.__bases__, {**kept, **methods, "__slots__": slots})
    again.__qualname__ = cls.__qualname__
    return again


if not TYPE_CHECKING:  # a type checker takes them for those of dataclasses
    dataclass, field, replace = _dataclass, Field, lambda one, /, **changes: one.__replace__(**changes)
