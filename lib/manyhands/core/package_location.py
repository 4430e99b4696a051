"""The location of this package: for processes that have to import it, and to find files of the checkout around it."""

from __future__ import annotations

import os

from manyhands.core.lean import Final

PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY: Final = os.path.dirname(PACKAGE)
"""The folder that must be in `sys.path` to import the package."""
CHECKOUT: Final = os.path.dirname(LIBRARY)
"""The folder with ``tasks.py`` and ``pyproject.toml``, if this is a checkout and not an installation."""
