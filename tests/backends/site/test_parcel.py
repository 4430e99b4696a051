"""What travels: it is all that the far end imports, needs only the standard library, and runs on the oldest Python that we promise."""

from __future__ import annotations

import ast
import os
import pwd
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import MAGIC_NUMBER
from io import BytesIO
from pathlib import Path

import pytest

from conftest import HERE
from manyhands.backends.site.parcel import LENGTH, OLDEST, boot, modules, parcel
from manyhands.core.package_location import LIBRARY

NAME = f"python{OLDEST[0]}.{OLDEST[1]}"


def oldest() -> str:
    """The program of the oldest Python, if it is here."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # HOME is another in tests
    found = next(map(str, home.glob(f".pyenv/versions/{OLDEST[0]}.{OLDEST[1]}.*/bin/python")), None)
    return found or shutil.which(NAME) or pytest.skip(f"{NAME} is not installed")


def imported(path: Path) -> list[str]:
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


def path_of(module: str) -> Path | None:
    base = Path(LIBRARY, *module.split("."))
    return next((one for one in (base.with_suffix(".py"), base / "__init__.py") if one.is_file()), None)


def test_all_that_is_imported_travels() -> None:
    """And nothing else: found from the imports of the two entrances."""
    found: dict[str, Path] = {}
    to_read = ["manyhands.backends.site.far_end", "manyhands.backends.launchers.main"]
    while to_read:
        name = to_read.pop()
        path = path_of(name)
        if name in found or path is None:
            continue
        found[name] = path
        to_read += imported(path)
        to_read += [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]
    assert modules() == found


def test_it_imports_nothing_but_itself_and_the_standard_library() -> None:
    """Also where a module is imported inside a function."""
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {one.name.split(".")[0] for one in node.names} <= sys.stdlib_module_names, name
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in sys.stdlib_module_names | {"manyhands"}, name


@pytest.mark.skipif(not (HERE / "lib").is_dir(), reason="a wheel is tested, which no linter sees")
def test_the_linter_knows_what_travels() -> None:
    """Each module is checked for the oldest Python, as is what the Python of a warm script runs, which may be that old, too."""
    table = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["ruff"]["per-file-target-version"]
    known = set()
    for pattern in table:
        folder, braces, rest = pattern.partition("{")
        names = rest.removesuffix("}.py").split(",") if braces else [""]
        for one in names:
            known |= set(HERE.glob(f"{folder}{one}.py" if braces else folder))
    travels = {HERE / "lib" / path.relative_to(LIBRARY) for path in modules().values()}
    travels |= set((HERE / "lib" / "manyhands" / "backends" / "zygote").glob("*.py"))
    assert {path for path in travels if path.name != "__init__.py"} == {
        path for path in known if path.name != "__init__.py"
    }


def test_its_syntax_is_old_enough() -> None:
    """As far as a newer Python can tell."""
    for path in modules().values():
        ast.parse(path.read_text(), feature_version=OLDEST)


def unpacked(bytecode: str) -> zipfile.ZipFile:
    found = parcel(bytecode)
    assert int.from_bytes(found[:LENGTH], "big") == len(found) - LENGTH
    return zipfile.ZipFile(BytesIO(found[LENGTH:]))


def test_the_zip_holds_all_of_it() -> None:
    """As Python imports it: to a Python like ours compiled, to all others as it is written."""
    names = sorted(path.relative_to(LIBRARY).as_posix() for path in modules().values())
    assert "manyhands/__init__.py" in names
    for other in ("0", "a70d0d0b"):
        assert sorted(unpacked(other).namelist()) == names
    assert sorted(unpacked(MAGIC_NUMBER.hex()).namelist()) == sorted(f"{name}c" for name in names)


@pytest.mark.parametrize("bytecode", [MAGIC_NUMBER.hex(), "0"])
def test_python_imports_the_zip(bytecode: str, tmp_path: Path) -> None:
    """Every module, with nothing of it compiled again where it is compiled already."""
    (tmp_path / "far.zip").write_bytes(parcel(bytecode)[LENGTH:])
    code = f"import {', '.join(modules())}; print(manyhands.backends.site.far_end.__file__)"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'far.zip')!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    end = "far_end.pyc" if bytecode == MAGIC_NUMBER.hex() else "far_end.py"
    assert done.stdout.strip() == str(tmp_path / "far.zip" / "manyhands" / "backends" / "site" / end)


def test_the_oldest_python_imports_it() -> None:
    """All of it, with warnings as errors."""
    names = ", ".join(modules())
    subprocess.run([oldest(), "-W", "error", "-c", f"import {names}"], env={"PYTHONPATH": LIBRARY}, check=True)


def test_any_login_shell_passes_the_command_on() -> None:
    """Nothing in it means something to a shell but the quotes around the program."""
    assert all(re.fullmatch(r"[\w./()\"-]+", word) for word in boot("python3", "manyhands-0123"))
