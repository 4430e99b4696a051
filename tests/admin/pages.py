"""The pages of docs/admin: every command is run as it is printed, in a folder that the test has made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from conftest import HERE
from typed_pages import matches, steps

PAGES = HERE / "docs" / "admin"


def check_page(
    name: str, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str] | None = None
) -> None:
    """Run the commands of docs/admin/NAME.md in ``folder``, and compare what they print with what the page shows.

    ``replaced``: texts of the page, such as ``web1:443``, and what stands for them here.
    """
    text = (PAGES / f"{name}.md").read_text()
    for page, here in (replaced or {}).items():
        text = text.replace(page, here)
    programs = folder.parent / f"{folder.name}-programs"
    programs.mkdir(exist_ok=True)
    (programs / "manyhands").write_text(f'#!/bin/sh\nexec {sys.executable} -m manyhands "$@"\n')
    (programs / "manyhands").chmod(0o755)
    found = steps(text)
    assert found, f"{name}.md shows no command"
    for step in found:
        done = subprocess.run(
            ["bash", "-c", step.text],
            cwd=folder,
            env={**environment, "PATH": f"{programs}:{environment['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if step.shown is not None:
            assert matches(step.shown, done.stdout + done.stderr), (step.text, done.stdout, done.stderr)
