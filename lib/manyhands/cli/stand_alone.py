"""One task as a program of its own, such as ``scripts/admin/reach.py``: its arguments are those of the task."""

from __future__ import annotations

import sys
from typing import NoReturn

import invoke

from manyhands.cli.helping import page_of, text
from manyhands.cli.loaded_tasks import load_tasks
from manyhands.cli.program import Program
from manyhands.core import hints
from manyhands.core.records import replace


class StandAlone(Program):
    """A program that has one task, which nobody names."""

    def print_task_help(self, name: str) -> None:
        """The help of the task, called as this program is."""
        page = page_of(self.collection[name], name)
        usage = page.usage.removeprefix(f"{name} ")
        examples = tuple(one.replace(f" {name}", "") for one in page.examples)
        print(text(replace(page, usage=usage, examples=examples), hints.typed()))  # noqa: T201 - it was asked for


def main(task: str) -> NoReturn:
    """Run ``task``, such as ``admin.reach``, with the arguments of this process, and exit with its status."""
    folder, _, name = task.rpartition(".")
    collection = invoke.Collection()
    collection.add_collection(invoke.Collection(folder, **{name: load_tasks().namespace[task]}))
    hints.stand_alone(task)
    StandAlone(namespace=collection, name=name, binary=name).run([sys.argv[0], task, *sys.argv[1:]])
    sys.exit()
