"""The code of a scene that ``--source`` prints is a whole program."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import symtable
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from conftest import Cli
from manyhands.tour.contents import SCENES
from manyhands.tour.handlers import usual
from manyhands.tour.pasting import program_of
from manyhands.tour.showing import why_not

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


def test_a_module_that_tells_something_at_its_import_does_so_in_the_program_only(cli: Cli, tmp_path: Path) -> None:
    """What is printed is the program, and nothing else."""
    path = tmp_path / "pasted.py"
    path.write_text(cli("tour.process-memory", "--source").stdout)
    done = subprocess.run([sys.executable, "-I", str(path)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("the module is imported") == 1


@pytest.mark.sampled
@pytest.mark.parametrize(("name", "broken"), ALL)
def test_it_runs_where_it_is_pasted(name: str, broken: bool, tmp_path: Path) -> None:
    """In a file of its own, by a Python that knows nothing of us, with waits of a fifth."""
    scene = SCENES[name]
    if why := why_not(scene, usual(scene)):
        pytest.skip(why)
    program = program_of(scene, broken=broken).replace("    return seconds\n", "    return seconds / 5\n")
    (tmp_path / "pasted.py").write_text(program)
    # the folder of sockets: a path of 108 bytes is too long for one
    with (tmp_path / "out").open("w") as out, TemporaryDirectory(prefix="mh-") as folder:
        env = os.environ | {"TMPDIR": folder, "PYTHONPATH": ""}
        program_run = subprocess.Popen(
            [sys.executable, "pasted.py"], stdout=out, stderr=out, cwd=tmp_path, env=env, start_new_session=True
        )
        status = program_run.wait(100)
        with suppress(ProcessLookupError):
            os.killpg(program_run.pid, signal.SIGKILL)  # a mistake may be that somebody is left
    said = (tmp_path / "out").read_text()
    assert said
    assert broken or (status == 0 and "Traceback" not in said), said
