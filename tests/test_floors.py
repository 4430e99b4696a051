"""The layout that docs/design.md draws: imports go down only, nothing imports in a circle, files and functions stay small."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from manyhands.core import package_location

PACKAGE = Path(package_location.PACKAGE)
FLOORS = [
    "core",
    "options",
    "runtime",
    "posix",
    "work",
    "inputs",
    "storage",
    "export",
    "backends",
    "engine",
    "processes",
    "commands",
    "host",
    "control",
    "execution",
    "render",
    "ci",
    "report",
    "web",
    "api",
    "handlers",
    "admin",
    "tour",
    "cli",
    "__main__",
    "__init__",
]
"""The packages, the lowest first: each imports only what stands before it."""


def module_name(path: Path) -> str:
    """``engine.loop``; of a package its own name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {
    module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "_tasks.py"
}  # a wheel has it


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of ours that ``module`` imports, also inside its functions, but not for type checking only."""
    return frozenset(_imports(ast.parse(MODULES[module].read_text())))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "manyhands":
            within = node.module.removeprefix("manyhands").lstrip(".")
            for alias in node.names:
                inner = f"{within}.{alias.name}".lstrip(".")
                if inner in MODULES:
                    yield inner
                elif within or alias.name != "__version__":
                    yield within or "__init__"
        yield from _imports(node)


def test_imports_go_down_only() -> None:
    """No module imports from a package above its own, nor from the package root, which is for users."""
    upwards = []
    for module in MODULES:
        own = module.split(".")[0]
        floors = {name: name.split(".")[0] for name in imports(module)}
        upwards += [
            f"{module} -> {name}"
            for name, floor in floors.items()
            if floor != own and FLOORS.index(floor) > FLOORS.index(own)
        ]
    assert upwards == []


def test_nothing_imports_in_a_circle() -> None:
    """Not even by imports inside functions, within a package or across."""
    graph = {
        module: {name for name in imports(module) if not module.startswith(f"{name}.") and name != module}
        for module in MODULES
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_package_has_a_floor() -> None:
    """What lies in the package is in the list, and the other way round."""
    assert {module.split(".")[0] for module in MODULES} == set(FLOORS)


def test_the_bottom_needs_the_standard_library_alone() -> None:
    """Plain data, and the declarations of the options, which every start reads, import nothing else: no psutil, no rich, no invoke; values are pickled by cloudpickle."""
    for module, path in MODULES.items():
        if module.startswith(("core.", "options.")):
            nodes = list(ast.walk(ast.parse(path.read_text())))
            names = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
            names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
            known = {*sys.stdlib_module_names, "manyhands", "cloudpickle"}
            known |= {"typing_extensions"}  # which every type checker has; where there is none, nothing imports it
            assert {name.split(".")[0] for name in names} <= known, module


def test_the_engine_knows_no_backend() -> None:
    """It knows what every backend can do, and none of them."""
    known = {name for module in MODULES if module.startswith("engine") for name in imports(module)}
    assert {name for name in known if name.startswith("backends")} == {"backends.protocol"}


def test_files_and_functions_stay_small() -> None:
    """A file is at most 400 lines, a function 40 besides its docstring."""
    large = []
    for module, path in MODULES.items():
        text = path.read_text()
        large += [module] if text.count("\n") > 400 else []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False)
                lines = (node.end_lineno or 0) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
                large += [f"{module}:{node.name}"] if lines > 40 else []
    assert large == []


def test_every_module_says_what_it_is() -> None:
    """A module and every public function has a docstring; of what a scene shows, the scene has one (tests/tour)."""
    bare = []
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text())
        if path.stat().st_size and not ast.get_docstring(tree):
            bare.append(module)
        if path.parent == PACKAGE / "tour" / "scenes":
            continue
        bare += [
            f"{module}:{node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and "overload" not in map(ast.unparse, node.decorator_list)
            and not ast.get_docstring(node)
        ]
    assert bare == []
