"""The ``manyhands`` program: the same tasks as ``invoke`` in a checkout, from anywhere."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from invoke import Program

from manyhands import __version__, cli


def load_tasks() -> ModuleType:
    """The tasks: shipped in the wheel as ``manyhands._tasks``, else those of the checkout around this file."""
    spec = importlib.util.find_spec("manyhands._tasks")
    if spec is None:
        path = Path(__file__).parents[2] / "tasks.py"
        spec = importlib.util.spec_from_file_location("manyhands._tasks", path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - one of the two is there, or nothing is
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Run the program and leave with its status."""
    program = Program(
        name="manyhands", binary="manyhands", binary_names=["manyhands"], version=__version__,
        namespace=load_tasks().namespace,
    )  # fmt: skip
    try:
        program.run(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:  # while a list or a help text was being printed
        sys.exit(cli.closed_pipe().code)


if __name__ == "__main__":
    main()
