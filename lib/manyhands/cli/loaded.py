"""The program that runs in this process: what reads settings or explains a mistake asks it which tasks there are."""

from __future__ import annotations

import invoke


class Loaded:
    """Where it is kept; it knows its tasks, and the words that it was called with."""

    program: invoke.Program | None = None
