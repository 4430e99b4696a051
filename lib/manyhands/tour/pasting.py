"""The code of a scene as a program that runs when it is pasted into a file: what it uses of its modules, the imports, and a call.

    scene.function --names that it uses--> functions, classes, constants, imports --> text

What a scene has from `manyhands.tour.scene_tools` is replaced by a few lines that print, so that the program needs nothing of ours.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from importlib import import_module
from typing import Any, Final

from manyhands.tour.contents import Scene

_TOOLS: Final = {
    "tell": (
        "import os",
        "def tell(text: str, **data: Any) -> None:\n    print(f\"{os.getpid()} {text.format(**data)}\\n\", end='', flush=True)",
    ),
    "doing": (
        "from contextlib import contextmanager",
        "@contextmanager\ndef doing(text: str, **data: Any) -> Iterator[None]:\n    tell(text, **data)\n    yield",
    ),
    "scaled": ("", "def scaled(seconds: float) -> float:\n    return seconds"),
    "NotPossible": ("", "class NotPossible(Exception):\n    pass"),
}
"""What stands for the tools of a scene: an import, and the code."""


class _Gathered:
    """All that some code needs, each once: ``parts`` by their place, ``imports`` as statements."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, int], str] = {}
        self.imports: set[str] = set()
        self.tools: set[str] = set()
        self._done: set[tuple[str, str]] = set()
        self._trees: dict[str, tuple[str, dict[str, ast.stmt]]] = {}

    def need(self, module: str, name: str) -> None:
        """Take in what ``name`` means in ``module``, and all that it needs in turn."""
        if (module, name) in self._done or hasattr(builtins, name):
            return
        self._done.add((module, name))
        source, defined = self._tree(module)
        node = defined.get(name)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node, name)
        elif node is not None:
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            self.parts[module, first] = "\n".join(source.splitlines()[first - 1 : node.end_lineno])
            for one in ast.walk(node):
                if isinstance(one, ast.Name):
                    self.need(module, one.id)

    def _import(self, node: ast.Import | ast.ImportFrom, name: str) -> None:
        (alias,) = (one for one in node.names if (one.asname or one.name).partition(".")[0] == name)
        text = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
        if isinstance(node, ast.Import):
            self.imports.add(f"import {text}")
        elif node.module == "manyhands.tour.scene_tools":
            self.tools |= {name, "tell"} if name == "doing" else {name}
        elif (node.module or "").startswith("manyhands."):
            self.need(node.module or "", alias.name)
        else:
            self.imports.add(f"from {node.module} import {text}")

    def _tree(self, module: str) -> tuple[str, dict[str, ast.stmt]]:
        """The source of a module, and the statement that each of its names comes from."""
        if module not in self._trees:
            source = inspect.getsource(import_module(module))
            defined: dict[str, ast.stmt] = {}
            for node in ast.parse(source).body:
                defined |= dict.fromkeys(_names(node), node)
            self._trees[module] = source, defined
        return self._trees[module]


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement of a module gives a meaning to."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(one.asname or one.name).partition(".")[0] for one in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
    return []


def program_of(scene: Scene, *, broken: bool = False) -> str:
    """The whole program, which plays the scene as it is by default."""
    function = scene.function(broken=broken)
    found = _Gathered()
    found.need(function.__module__, function.__name__)
    own = [text for name, (_, text) in _TOOLS.items() if name in found.tools]
    found.imports |= {statement for name, (statement, _) in _TOOLS.items() if name in found.tools and statement}
    found.imports |= {f"from typing import {name}" for name in ("Any", "Iterator") if any(name in text for text in own)}
    parts = [text for _, text in sorted(found.parts.items(), key=lambda item: _order(item[0], function.__module__))]
    call = _call(scene, function.__name__, found.imports)
    head = "\n".join(["from __future__ import annotations", "", *_together(found.imports)])
    return "\n\n\n".join([head, *own, *parts, call]) + "\n"


def _together(imports: set[str]) -> list[str]:
    """Import statements, one for each module."""
    found: dict[str, list[str]] = {}
    for statement in sorted(imports):
        begin, word, name = statement.partition(" import ")
        found.setdefault(begin + word, []).append(name)
    return [f"{begin}{', '.join(names)}" for begin, names in found.items()]


def _order(place: tuple[str, int], last: str) -> tuple[bool, str, int]:
    """What comes from other modules first."""
    return place[0] == last, *place


def _call(scene: Scene, function: str, imports: set[str]) -> str:
    """The lines that play it; workers import the file, and must not play it again."""
    options: dict[str, Any] = {
        name: value[0] if isinstance(value, tuple) else value for name, value in scene.options.items()
    }
    lines = ['if __name__ == "__main__":']
    if method := options.pop("start_method", None):
        imports.add("import multiprocessing")
        lines.append(f'    multiprocessing.set_start_method("{method}")')
    if scene.folder:
        imports |= {"import os", "import tempfile"}
        lines.append("    os.chdir(tempfile.mkdtemp())")
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return "\n".join([*lines, f"    {function}({given})"])
