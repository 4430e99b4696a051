"""The code of a scene that ``--source`` prints is a whole program."""

from __future__ import annotations

import builtins
import subprocess
import symtable
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manyhands.tour.contents import SCENES
from manyhands.tour.pasting import program_of

ALL = [(name, broken) for name, scene in SCENES.items() for broken in ([False, True][: 1 + bool(scene.broken)])]


def unknown(table: symtable.SymbolTable, known: set[str]) -> Iterator[str]:
    """Names that are used somewhere in a program and mean nothing."""
    for one in table.get_symbols():
        if one.is_referenced() and one.is_global() and one.get_name() not in known:
            yield one.get_name()
    for inner in table.get_children():
        yield from unknown(inner, known)


@pytest.mark.parametrize(("name", "broken"), ALL)
def test_every_name_is_there(name: str, broken: bool) -> None:
    """Imports, constants, functions, and nothing of ours."""
    program = program_of(SCENES[name], broken=broken)
    compile(program, name, "exec")
    table = symtable.symtable(program, name, "exec")
    known = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    known |= {one.get_name() for one in table.get_children()} | set(dir(builtins)) | {"__name__", "__file__"}
    assert list(unknown(table, known)) == []
    assert "import manyhands" not in program
    assert "from manyhands" not in program


@pytest.mark.parametrize("name", ["process-names", "thread-bank", "asyncio-queue"])
def test_it_runs_where_manyhands_is_not_installed(name: str, tmp_path: Path) -> None:
    """Pasted into a file, by a Python that sees no package."""
    path = tmp_path / "pasted.py"
    path.write_text(program_of(SCENES[name]))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
