"""What scripts, settings and fingers rely on: the options of every task, as tests/data/interface.txt has them.

A change of the command line is seen there, line by line, by whoever reviews it. Written anew by

    PYTHONPATH=lib:tests python -m cli.test_interface > tests/data/interface.txt
"""

from __future__ import annotations

from collections.abc import Iterator

from conftest import HERE
from manyhands.cli.helping import page_of
from manyhands.cli.known_settings import known_by
from manyhands.cli.loaded_tasks import load_tasks
from manyhands.cli.task import Task

FILE = HERE / "tests" / "data" / "interface.txt"


def interface() -> Iterator[str]:
    """Each task, what it takes and what that is by default; not the scenes, which are many and have all the same, nor what is for work
    on the project itself. Then what can be set."""
    namespace = load_tasks().namespace
    for name, aliases in sorted(namespace.task_names.items()):
        task = namespace[name]
        if not isinstance(task, Task) or not task.listed or name.startswith("dev."):
            continue
        page = page_of(task, name, aliases)
        yield " ".join([page.usage.removesuffix(" [OPTIONS]"), *(f"| {one}" for one in page.also)])
        defaults = {one.name: one.default for one in task.declared if not one.said.positional}
        for one, default in zip(page.options, defaults.values(), strict=True):
            shown = "" if default is None or isinstance(default, bool) or default in ((), []) else f" = {default}"
            yield f"    {one.typed}{shown}"
    for scope, options in sorted(known_by(namespace).items()):
        if len(scope) == 1 and scope[0] in ("batch", "cmd", "host", "proc"):
            yield f"{scope[0]}: {' '.join(sorted(options))}"


def test_the_command_line_is_as_it_was() -> None:
    """Names, letters, what they take, defaults, other names, and what can be set in files and variables."""
    assert list(interface()) == FILE.read_text().splitlines()


if __name__ == "__main__":
    print("\n".join(interface()))
