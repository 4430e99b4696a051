"""The layout that the design draws: imports go down only, files and functions stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands.tour.contents import SCENES

PACKAGE = Path(__file__).parents[1] / "lib" / "manyhands"
FLOORS = [
    {
        "extras",
        "errors",
        "hints",
        "home",
        "search_path",
        "main_guard",
        "interrupts",
        "jsonable",
        "values",
        "arguments",
        "job",
        "live_outcome",
        "numbers",
        "backend",
        "workers",
        "events",
        "limits",
        "syntax",
        "rereading",
        "masking",
        "escapes",
        "frames",
        "script",
        "commandline",
        "template",
    },
    {
        "inputs",
        "readers",
        "feed",
        "program_inputs",
        "plan",
        "rows",
        "call",
        "chunks",
        "belt",
        "ordering",
        "continuing",
        "stages",
        "journal",
        "joblog",
        "runs",
        "expiry",
        "database",
        "disk",
        "locks",
        "run_record",
        "spool",
        "schema",
        "integrity",
        "kernel",
        "cores",
        "process",
        "details",
        "stopping",
        "forks",
        "host",
        "meters",
        "cgroup",
        "forked",
        "leaving",
        "patched",
        "waiting",
        "allowance",
        "warden",
        "checking",
        "doctor",
        "output",
        "outbox",
        "contention",
        "standing",
        "counting",
        "following",
        "globbing",
        "grouping",
        "opening",
        "programs",
        "tree",
        "pipeline",
        "command",
        "answering",
        "repeating",
        "comparing",
    },
    {"backends"},
    {"engine"},
    {
        "signals",
        "place",
        "run_inputs",
        "recalling",
        "run_settings",
        "earlier",
        "background",
        "batch",
        "takeover",
        "line",
        "measuring",
        "mapping",
        "library",
        "results",
        "render",
        "console",
        "doors",
    },
    {"tour"},
    {"beginning", "lean_invoke", "cli", "runner", "__main__", "__init__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that ``path`` imports, wherever in the file, but for type checking only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "manyhands":
            inner = (node.module or "").split(".")[1:]
            yield from [inner[0]] if inner else [alias.name for alias in node.names if alias.name != "__version__"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    """No module imports from a floor above its own; the package root is for users, not for us."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for name in imports(path):
        assert name in FLOOR, f"{name} has no floor"
        assert FLOOR[name] <= FLOOR[own], f"{own} (floor {FLOOR[own]}) imports {name} (floor {FLOOR[name]})"


def test_the_bottom_does_no_input_or_output() -> None:
    """Plain data imports nothing of ours but plain data, and neither psutil nor rich."""
    for name in FLOORS[0]:
        text = (PACKAGE / f"{name}.py").read_text()
        assert "psutil" not in text
        assert "rich" not in text.split('"""')[2]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    """A file is at most 400 lines, a function 40 besides its docstring."""
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or 0) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
            assert lines <= 40, f"{node.name} has {lines} lines"


def test_every_module_says_what_it_is() -> None:
    """A module and every public function has a docstring; of what a scene shows, the scene has one (tests/tour/test_scenes_as_tasks.py)."""
    scenes = {PACKAGE / "tour" / f"{scene.module or scene.topic}.py" for scene in SCENES.values()}
    lacking = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        if path.stat().st_size and not ast.get_docstring(tree):
            lacking.append(str(path))
        if path in scenes:
            continue
        lacking += [
            f"{path.name}:{node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert lacking == []
