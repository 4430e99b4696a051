"""A script of a checkout that is started by a Python without our packages goes on in the environment of the checkout."""

from __future__ import annotations

import os
import sys

from manyhands.core.package_location import CHECKOUT


def go_on_in_environment() -> None:
    """Start the script that runs again with the Python of .venv, if it is one of this checkout; without a .venv, exit with one line,
    and the status 3 of monitors. For any other program: nothing."""
    script, scripts = os.path.abspath(sys.argv[0]), os.path.join(CHECKOUT, "scripts", "")
    if not script.startswith(scripts):
        return
    folder = os.path.join(CHECKOUT, ".venv")
    python = os.path.join(folder, "bin", "python")
    if sys.prefix != folder and os.access(python, os.X_OK):
        os.execv(python, [python, *sys.argv])  # noqa: S606 - no shell is wanted
    sys.stdout.write(f"UNKNOWN - {script} needs packages that are not installed: {scripts}run -l installs them\n")
    raise SystemExit(3)
