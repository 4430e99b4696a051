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
from io import BytesIO
from pathlib import Path

import pytest

from conftest import HERE
from manyhands.backends.site.parcel import OLDEST, boot, modules, parcel
from manyhands.core.package_location import LIBRARY

NAME = f"python{OLDEST[0]}.{OLDEST[1]}"


def oldest() -> str:
    """The program of the oldest Python, if it is here."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # HOME is another in tests
    found = next(map(str, home.glob(f".pyenv/versions/{OLDEST[0]}.{OLDEST[1]}.*/bin/python")), None)
    return found or shutil.which(NAME) or pytest.skip(f"{NAME} is not installed")


def test_it_imports_nothing_but_itself_and_the_standard_library() -> None:
    """Also where a module is imported inside a function."""
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {one.name.split(".")[0] for one in node.names} <= sys.stdlib_module_names, name
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).split(".")[0] in sys.stdlib_module_names | {"manyhands"}, name


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


def test_the_zip_holds_all_of_it() -> None:
    """As Python imports it."""
    names = zipfile.ZipFile(BytesIO(parcel())).namelist()
    assert sorted(names) == sorted(path.relative_to(LIBRARY).as_posix() for path in modules().values())
    assert "manyhands/__init__.py" in names


def test_the_oldest_python_imports_it() -> None:
    """All of it, with warnings as errors."""
    names = ", ".join(modules())
    subprocess.run([oldest(), "-W", "error", "-c", f"import {names}"], env={"PYTHONPATH": LIBRARY}, check=True)


def test_any_login_shell_passes_the_command_on() -> None:
    """Nothing in it means something to a shell but the quotes around the program."""
    assert all(re.fullmatch(r"[\w./()\"-]+", word) for word in boot("python3", "manyhands-0123"))
