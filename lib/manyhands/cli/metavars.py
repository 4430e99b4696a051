"""What stands for the value of an option in a help text, and so what kind of value completion has to offer: what its declaration says,
or its type, or its name. For the program's own options, which invoke declares, it is said here.
"""

from __future__ import annotations

from typing import Final

from invoke.parser import Argument

from manyhands.cli.options import Option

_OF_INVOKE: Final = {
    "config": "FILE",
    "help": "TASK",
    "list": "COLLECTION",
    "list-format": "flat|nested|json",
    "print-completion-script": "bash|zsh|fish",
}
FILES: Final = frozenset({"FILE", "FOLDER", "PATTERN", "COMMAND", "MODULE:FUNCTION", "LINE", "TEMPLATE", "WORK", "PATH"})
"""What a shell completes by names of files."""
_BY_KIND: Final = {"int": "N", "float": "NUMBER", "Path": "PATH"}


def metavar(option: Argument) -> str:
    """Such as ``FILE``, ``N``, or the words to choose from."""
    if not isinstance(option, Option):
        name = option.name or ""
        return _OF_INVOKE.get(name) or _BY_KIND.get(option.kind.__name__, name.upper())
    if option.choices:
        return "|".join(option.choices)
    return option.metavar or _BY_KIND.get(option.value_kind, option.names[0].upper())
