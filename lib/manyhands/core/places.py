"""Where this package lies: for processes that have to import it, and for files of the checkout around it."""

from __future__ import annotations

import os
from typing import Final

PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY: Final = os.path.dirname(PACKAGE)
"""What belongs in `sys.path`, so that the package can be imported."""
CHECKOUT: Final = os.path.dirname(LIBRARY)
"""What has ``tasks.py`` and ``pyproject.toml``, if this is a checkout and not an installation."""
