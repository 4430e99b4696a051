"""Imports invoke without the modules that it names but hardly ever uses: they took two thirds of its import.

    sys.modules while invoke is imported: inspect, logging, yaml ... --stand-ins--> the real ones, when something of them is used

Nothing of invoke is changed: it finds a stand-in under the name of a module, keeps it, and gets from it whatever it asks for; so do two
modules of the standard library that it imports. Whoever imports such a module later gets the real one. If invoke has been imported before us, as by plain `invoke`, there is nothing to do.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Final

_OF_INVOKE: Final[dict[str, tuple[str, ...]]] = {
    "importlib.metadata": (),  # imports the package email; for invoke's version number
    "inspect": (),  # ast, dis, tokenize; for the parameters of tasks that are not ours
    "invoke.vendor.yaml": (),  # for a file of settings, which is seldom there
    "locale": (),  # for the encoding of a command's output, where that is not UTF-8
    "logging": (),  # traceback, string; for --debug
    "getpass": (),  # for the password of sudo
    "glob": (),  # for the completion of invoke itself
    "pprint": ("pformat",),  # dataclasses; for an error in a thread
    "shlex": (),  # for the completion of invoke itself
    "textwrap": (),  # for lists of tasks and for help
    "traceback": ("format_exception",),  # textwrap, tokenize; for an error in a thread
    "unittest.mock": ("Mock",),  # unittest, asyncio; for `invoke.MockContext`
}
"""The modules that are replaced, and what invoke takes out of them at once: functions, and a class, that it only calls."""
_BEFORE: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "json": {},
    "pathlib": {"urllib.parse": ("quote_from_bytes",)},  # ipaddress; for `Path.as_uri`
    "subprocess": {"locale": ()},  # for text of programs where UTF-8 is not meant
}
"""What invoke imports from the standard library, which must not find the stand-ins that are for invoke; and what these leave out in turn."""


class StandIn(ModuleType):
    """Stands for the module ``__name__``, which is imported when something else of it is used than ``called``."""

    def __init__(self, name: str, called: tuple[str, ...] = ()) -> None:
        super().__init__(name)
        for one in called:
            setattr(self, one, _calling(name, one))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks for these, and needs none
            raise AttributeError(name)
        _remove_all()
        return getattr(importlib.import_module(self.__name__), name)


def _remove_all() -> None:
    """Let later imports get the real modules."""
    for name, module in [*sys.modules.items()]:
        if isinstance(module, StandIn):
            del sys.modules[name]


def _calling(module: str, name: str) -> Any:
    """What calls ``name`` of the module ``module``, imported then."""
    return lambda *args, **more: getattr(importlib.import_module(module), name)(*args, **more)


class _Log:
    """A logger that imports `logging` for everything but messages for debugging: while nobody else has imported it, nobody has
    asked for these."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("logging").getLogger(self.name), name)

    def debug(self, message: str, *args: Any, stacklevel: int = 1, **more: Any) -> None:
        """Pass a message on, as from whoever called this."""
        if "logging" in sys.modules:
            self.__getattr__("debug")(message, *args, stacklevel=stacklevel + 1, **more)


def import_invoke() -> None:
    """Import invoke, unless it is imported already."""
    if "invoke" in sys.modules:
        return
    for name, left_out in _BEFORE.items():
        _import(name, _stand_ins(left_out))
    placed = _stand_ins(_OF_INVOKE)
    for name, called, instead in (("logging", "getLogger", _Log), ("importlib.metadata", "version", lambda _: "")):
        if name in placed:
            setattr(placed[name], called, instead)
    had = vars(importlib).get("metadata")
    try:
        invoke = _import("invoke", placed)
    finally:
        if had is None:
            vars(importlib).pop("metadata", None)
    if "importlib.metadata" in placed:
        del invoke.__version__
        vars(invoke)["__getattr__"] = _version


def _stand_ins(modules: dict[str, tuple[str, ...]]) -> dict[str, StandIn]:
    return {name: StandIn(name, called) for name, called in modules.items() if name not in sys.modules}


def _import(name: str, placed: dict[str, StandIn]) -> ModuleType:
    """Import a module, which finds the stand-ins."""
    sys.modules.update(placed)
    try:
        return importlib.import_module(name)
    finally:
        _remove_all()


def _version(name: str) -> str:
    """See PEP 562."""
    if name != "__version__":
        raise AttributeError(f"module 'invoke' has no attribute {name!r}")
    from importlib.metadata import version

    return version("invoke")
