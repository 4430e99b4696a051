"""What a coordinator knows of consumers: who lives, who does not want its attempts, and who is lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator


class SeenConsumers:
    """See the module's first line. ``lease``: that of the consumers, in seconds; the broker forgets one when it is over."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._alive: set[str] = set()
        self.known: set[str] = set()
        """All that have ever lived."""
        self._missing: dict[str, float] = {}
        """Since when nothing is heard of one."""
        self._refused: set[str] = set()

    def are(self, names: Collection[str]) -> None:
        """These live now."""
        self._alive = {*names}
        self.known |= self._alive
        self._refused &= self._alive

    def refuses(self, name: str) -> None:
        """One does not take our attempts."""
        self._refused.add(name)

    @property
    def are_none(self) -> bool:
        """Whether nobody would take an attempt."""
        return not self._alive - self._refused

    @property
    def count(self) -> int:
        """How many live."""
        return len(self._alive)

    def forgive(self) -> None:
        """Nobody could be heard for some time: count again."""
        self._missing.clear()

    def lost(self, owners: Collection[str], now: float) -> Iterator[str]:
        """Those of ``owners`` of whom nothing is heard for too long; a broker that has just come back does not know them yet."""
        for name in owners:
            if name in self._alive:
                self._missing.pop(name, None)
            elif now - self._missing.setdefault(name, now) > self._lease / 2:
                del self._missing[name]
                yield name
