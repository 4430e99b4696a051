"""The command that installs what an optional part needs, as a line that can be typed here.

The line names the needed packages themselves, never our own distribution: an index may have another project under our name, and this
installation may come from a checkout or a wheel that is in no index.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from manyhands.core.package_location import CHECKOUT

DISTRIBUTION: Final = "manyhands-tasks"


def install_line(extra: str) -> str:
    """The command that adds what ``extra`` needs to the environment that we run in: made by pipx, uv, or venv."""
    import shlex  # here: only a message needs it

    packages = requirements(extra)
    if (Path(sys.prefix) / "pipx_metadata.json").exists():
        return shlex.join(["pipx", "inject", DISTRIBUTION, *packages])
    if find_spec("pip") is None:  # uv's environments have none
        return shlex.join(["uv", "pip", "install", "--python", sys.executable, *packages])
    return shlex.join([sys.executable, "-m", "pip", "install", *packages])


def requirements(extra: str) -> list[str]:
    """What pyproject.toml lists for ``extra``: read from the checkout around this file, else from what is installed."""
    project = Path(CHECKOUT) / "pyproject.toml"
    if project.is_file():
        import tomllib

        return list(tomllib.loads(project.read_text("utf-8"))["project"]["optional-dependencies"][extra])
    from importlib import metadata  # with the parser of mails that it brings, most of what our own modules cost

    wanted = re.compile(rf"""(.+?)\s*;.*\bextra\s*==\s*['"]{re.escape(extra)}['"]""")
    return [found[1] for one in metadata.requires(DISTRIBUTION) or [] if (found := wanted.fullmatch(one))]
