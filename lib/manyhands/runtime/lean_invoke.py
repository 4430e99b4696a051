"""Imports invoke without two modules that it hardly ever uses: they took a third of the time of a start.

``unittest.mock`` (for `invoke.MockContext`) imports unittest and asyncio, ``importlib.metadata`` (for invoke's version number) the
email package. Stand-ins replace the two while invoke is imported, and import the real ones when they are used. If invoke has been
imported before us, as by plain `invoke`, there is nothing to do.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def import_invoke() -> None:
    """Import invoke, unless it is imported already. Later imports of the two modules get the real ones."""
    if "invoke" in sys.modules:
        return
    stand_ins: dict[str, dict[str, Any]] = {
        "unittest.mock": {"Mock": _mock},
        "importlib.metadata": {"version": lambda _: ""},
    }
    placed = [name for name in stand_ins if name not in sys.modules]
    for name in placed:
        sys.modules[name] = module = ModuleType(name)
        vars(module).update(stand_ins[name])
    had = vars(importlib).get("metadata")
    try:
        invoke = importlib.import_module("invoke")
    finally:
        for name in placed:
            del sys.modules[name]
        if had is None:
            vars(importlib).pop("metadata", None)
    if "importlib.metadata" in placed:
        del invoke.__version__
        vars(invoke)["__getattr__"] = _version


def _mock(*args: Any, **more: Any) -> Any:
    from unittest.mock import Mock

    return Mock(*args, **more)


def _version(name: str) -> str:
    """See PEP 562."""
    if name != "__version__":
        raise AttributeError(f"module 'invoke' has no attribute {name!r}")
    from importlib.metadata import version

    return version("invoke")
