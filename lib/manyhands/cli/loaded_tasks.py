"""The program that runs in this process: what reads settings or explains a mistake asks it which tasks there are. And our own tasks."""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Final

import invoke

from manyhands.core.package_location import CHECKOUT

_TASKS: Final = "manyhands._tasks"


class Loaded:
    """Where it is kept; it knows its tasks, and the words that it was called with."""

    program: invoke.Program | None = None


def load_tasks() -> ModuleType:
    """Our tasks: shipped in the wheel as ``manyhands._tasks``, else those of the checkout around this package."""
    if _TASKS in sys.modules:
        return sys.modules[_TASKS]
    spec = importlib.util.find_spec(_TASKS)
    if spec is None:
        spec = importlib.util.spec_from_file_location(_TASKS, os.path.join(CHECKOUT, "tasks.py"))
    assert spec is not None and spec.loader is not None  # noqa: S101 - one of the two is there, or nothing is
    module = sys.modules[_TASKS] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
