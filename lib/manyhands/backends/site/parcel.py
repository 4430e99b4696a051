"""What brings the far end of a site there: a few lines of Python, and a zip of our modules that they read from standard input.

Nothing is installed and nothing is written to disk: the zip is in a file in memory (memfd_create(2)), from which Python imports
(`zipimport`), and which the launchers inherit.
"""

from __future__ import annotations

import ast
import io
import os
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

from manyhands.core.package_location import LIBRARY

OLDEST: Final = (3, 9)
"""The oldest Python that the far end runs on."""
_ENTRANCES: Final = ("manyhands.backends.site.far_end", "manyhands.backends.launchers.main")
_BOOT: Final = f"""
import os, sys
marker, length = sys.argv[1], int(sys.argv[2])
print("\\n" + marker, *sys.version_info[:3], flush=True)
if sys.version_info < {OLDEST}:
    sys.exit(1)
file = os.memfd_create("manyhands")
while length:
    piece = os.read(0, min(length, 65536))
    if not piece:
        sys.exit(1)
    length -= os.write(file, piece)
sys.path.insert(0, "/proc/self/fd/%d" % file)
from manyhands.backends.site.far_end import main
main(keep_open=(file,))
"""


def boot(python: str, marker: str) -> list[str]:
    """The command that starts the far end. It prints ``marker`` and its version in a line of their own, for what start-up files print
    comes first; then it reads `parcel`, and then it speaks frames. Quoted once, it passes any login shell."""
    code = f'exec(bytes.fromhex("{_BOOT.encode().hex()}"))'
    return [python, "-I", "-c", code, marker, str(len(parcel()))]


@cache
def parcel() -> bytes:
    """The zip of all modules that the far end imports."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(modules().values()):
            name = path.relative_to(LIBRARY).as_posix()
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


@cache
def modules() -> dict[str, Path]:
    """The modules of ours that the far end imports, by name, with those that they import, and their packages."""
    found: dict[str, Path] = {}
    to_read = list(_ENTRANCES)
    while to_read:
        name = to_read.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found[name] = path
        to_read += _imported(path)
        to_read += [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]
    return found


def _path(module: str) -> Path | None:
    base = os.path.join(LIBRARY, *module.split("."))
    return next((Path(one) for one in (base + ".py", os.path.join(base, "__init__.py")) if os.path.isfile(one)), None)


def _imported(path: Path) -> list[str]:
    """All that may be a module of ours in the imports of ``path``, but for those that only a type checker makes."""
    names = []
    stack: list[ast.AST] = [ast.parse(path.read_bytes())]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("manyhands"):
            names += [str(node.module), *(f"{node.module}.{one.name}" for one in node.names)]
        stack += ast.iter_child_nodes(node)
    return names
