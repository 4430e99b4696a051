"""How our program was called, so that what messages advise can be typed: a name, a path, ``python -m``, with ``--search-root``.

scripts/run, which starts the program of its own environment, says in MH_CALLED_AS how it was called itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from manyhands.core import hints

VARIABLE: Final = "MH_CALLED_AS"
_CHOOSING: Final = ("search-root", "collection", "config")
"""Options of the program without which the next command would find other tasks, or other defaults."""


class _Name:
    given = ""
    """What MH_CALLED_AS said; it is read once, and nothing that we start inherits it."""


def learn_name(argv: Sequence[str] | None = None, core: Any = None) -> None:
    """Let messages begin their commands as this process was called, or as ``argv`` was; ``core``: what the program's own options
    were found to be, of which some have to stand there the next time, too."""
    _Name.given = os.environ.pop(VARIABLE, _Name.given)
    core = core or {}
    options = [(f"--{name}", core[name].value) for name in _CHOOSING if name in core and core[name].got_value]
    first = [_Name.given] if _Name.given else argv[:1] if argv else None
    hints.call_it(lambda: [*(first or called_as(sys.argv, sys.orig_argv)), *(word for pair in options for word in pair)])


def called_as(argv: Sequence[str], orig: Sequence[str]) -> Sequence[str]:
    """The words that call the program again, from `sys.argv` and `sys.orig_argv`."""
    program = argv[0] if argv else ""
    if "-m" in orig and program.endswith(".py"):
        return orig[: orig.index("-m") + 2]
    name = os.path.basename(program)
    import shutil  # here: it imports all kinds of compression, and a name is seldom wanted

    found = shutil.which(name)
    if found and os.path.exists(program) and os.path.samefile(found, program):
        return (name,)
    if os.access(program, os.X_OK) or program not in orig:
        return (program or "manyhands",)
    return orig[: orig.index(program) + 1]
