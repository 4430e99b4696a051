"""Options of tasks: what their annotations mean, and how text becomes a value.

Conversion is done when the task is called, not while invoke parses: there the value's source is known, and an error can name
it, be it ``--jobs``, ``MANYHANDS_JOBS`` or a line in a file. Annotations are read as they are written; resolving those of all
tasks (`typing.get_type_hints`) would cost more than the rest of ``invoke -l``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, Final, NoReturn

from invoke.parser import Argument, ParserContext
from invoke.parser.context import translate_underscores

from manyhands.core.errors import UsageError
from manyhands.core.records import MISSING, dataclass
from manyhands.options.declaration import Declared

_BOOLEANS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "int": int,
    "float": float,
    "str": str,
    "Path": Path,
    "bool": lambda text: _BOOLEANS[text.strip().lower()],
}
_WORDS: Final = {"int": "a whole number", "float": "a number", "bool": "yes or no"}


COMMANDS: Final = ("line", "command")
"""How positional arguments are called that are a command: options after it, even invoke's, may have been meant as its own."""


def kind_of(annotation: object, default: object) -> str:
    """``annotation`` in one spelling: a key of the types, ``Literal[...]`` or ``list[str]``; raises TypeError for others.

    It is text under ``from __future__ import annotations``, an object otherwise, and missing (None) where the type of the
    default must do.
    """
    if annotation is None:
        kind = type(default).__name__ if type(default).__name__ in _TYPES else "str"
    else:
        kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kind = kind.removesuffix(" | None").removeprefix("typing.").removeprefix("pathlib.")
    if kind in ("Sequence[str]", "Sequence[Any]"):
        return "list[str]"
    if " | " in kind and "str" in kind.split(" | "):  # a program may give a number or a path, too
        return "str"
    if kind not in _TYPES and kind != "list[str]" and not choices(kind):
        raise TypeError(f"an option cannot be a {kind}: use int, float, bool, str, Path, Literal['a', ...] or list[str]")
    return kind


def choices(kind: str) -> list[str]:
    """The words of a ``Literal['a', 'b']``, nothing for other kinds."""
    return re.findall(r"[\"']([^\"']*)[\"']", kind) if kind.startswith("Literal[") else []


def converter(where: str, annotation: str) -> Callable[[str], Any]:
    """What turns text into a value of type ``annotation``; it raises UsageError, which names ``where`` the text is from."""
    kind = kind_of(annotation, None)
    if words := choices(kind):
        return lambda text: text if text in words else _wrong(where, f"one of {', '.join(words)}", text)

    def convert(text: str) -> Any:
        try:
            return _TYPES[kind](text)
        except (ValueError, KeyError):
            return _wrong(where, _WORDS[kind], text)

    return convert


def _wrong(where: str, expected: str, text: str) -> NoReturn:
    raise UsageError(f"{where}: expected {expected}, got {text!r}")


def flag_name(name: str) -> str:
    """How the option of a parameter is typed, as invoke derives it: ``--keep-order``, ``--from`` for ``from_``, ``-n``."""
    word = name.strip("_").replace("_", "-")
    return f"--{word}" if len(word) > 1 else f"-{word}"


@dataclass(frozen=True, slots=True)
class Absent:
    """Stands for an option that the command line did not give; ``task`` is the full name under which its task was called."""

    task: str = ""


class Option(Argument):
    """An invoke argument that tells "not given" from its default, keeps text as text, and may be left out if positional."""

    def __init__(self, one: Declared, kind: str) -> None:
        parsed_as: type = {"bool": bool, "list[str]": list}.get(kind, str)
        given, said = one.default is not MISSING, one.said
        default = list(one.default or ()) if kind == "list[str]" and given else one.default if given else None
        super().__init__(
            names=[translate_underscores(one.name), *said.short],
            kind=parsed_as,
            default=default,
            help=said.help,
            positional=said.positional,
            attr_name=one.name if "_" in one.name else None,
        )
        self.choices, self.omittable, self.task = choices(kind), given and said.positional, ""
        self.value_kind, self.metavar = kind, said.metavar

    def __deepcopy__(self, memo: dict[int, Any]) -> Option:
        """invoke copies every option for each parse; only what was given changes (a list is replaced, not appended to)."""
        return copy(self)

    @property
    def value(self) -> Any:
        """What was given: text, a bool, or a list of texts; else Absent, or None for invoke if it is positional."""
        if self.got_value:
            return self._value
        return None if self.positional else Absent(self.task)

    @value.setter
    def value(self, text: Any) -> None:
        self.set_value(text)

    def set_value(self, value: Any, cast: bool = True) -> None:
        """Take one more value; a list grows, anything else is replaced."""
        if self.kind is list:
            self.raw_value, self._value = value, [*(self._value or []), value]
        else:
            super().set_value(value, cast)


def flag_of(context: ParserContext, word: str) -> Argument | None:
    """The argument that ``word`` names in ``context``; the ``get`` of invoke's lexicons does not know short names."""
    return context.flags[word] if word in context.flags else None  # noqa: SIM401
