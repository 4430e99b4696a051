"""The ``manyhands`` program: the same tasks as ``invoke`` in a checkout, from anywhere."""

from __future__ import annotations

import sys

from manyhands.runtime.interrupts import die_of_interrupts

if __name__ == "__main__" or sys.argv[0].endswith("/manyhands"):  # else somebody imports it
    die_of_interrupts()

from manyhands.runtime.search_path import move_first_back

if __name__ == "__main__":
    move_first_back()

import importlib.util
from pathlib import Path
from types import ModuleType

from manyhands import __version__
from manyhands.runtime.lean_invoke import import_invoke
from manyhands.runtime.start import begin

NAME = "manyhands._tasks"


def load_tasks() -> ModuleType:
    """The tasks: shipped in the wheel as ``manyhands._tasks``, else those of the checkout around this file."""
    if NAME in sys.modules:
        return sys.modules[NAME]
    spec = importlib.util.find_spec(NAME)
    if spec is None:
        path = Path(__file__).parents[2] / "tasks.py"
        spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - one of the two is there, or nothing is
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Run the program and leave with its status."""
    begin()
    import_invoke()
    from manyhands.cli import Program  # takes most of the time of a start

    namespace = load_tasks().namespace
    Program(
        name="manyhands", binary="manyhands", binary_names=["manyhands"], version=__version__, namespace=namespace
    ).run()


if __name__ == "__main__":
    main()
