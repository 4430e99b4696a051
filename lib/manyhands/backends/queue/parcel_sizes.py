"""How many attempts travel to a consumer as one: several if they are short, because a message costs as much as a short job."""

from __future__ import annotations

from typing import Final

_WORTH: Final = 0.005
"""Seconds of work that a consumer gets at once at most: others may have nothing to do meanwhile."""
_SHARES: Final = 2
"""Parcels for each consumer, at least, of what is sent at once."""
_MOST: Final = 64


class ParcelSizes:
    """See the module's first line. What the attempts take is measured: at first they travel one by one."""

    def __init__(self) -> None:
        self._usual = 1.0
        """Seconds that an attempt takes, about."""

    def took(self, wall: float) -> None:
        """Note how long an attempt took, in seconds."""
        self._usual += 0.1 * (wall - self._usual)

    def together(self, count: int, consumers: int) -> int:
        """How many of ``count`` attempts may travel as one."""
        share = count // (_SHARES * max(1, consumers))
        return max(1, min(_MOST, share, int(_WORTH / max(self._usual, 1e-6))))
