"""The names of everything that we keep in a Redis server: they say whose it is, and what.

manyhands:runs                          the executions that have attempts for consumers
manyhands:consumers                     the consumers
manyhands:consumer:NAME                 what a consumer says of itself; expires with its lease
manyhands:consumer:NAME:control         what it is to do at once
manyhands:RUN                           settings of an execution; expires with its lease
manyhands:RUN:attempts, :reports, :claims, :origin

With Celery and RQ they begin with ``manyhands:celery:`` and ``manyhands:rq:``, so that consumers of one kind do not see executions of another.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "consumers"
"""The consumer group that reads the attempts of an execution."""
FIELD: Final = b"message"
"""The field of a stream's entry that holds the message."""


class Keys:
    """The names, all with the same beginning."""

    def __init__(self, begin: str) -> None:
        self._begin = begin
        self.runs = f"{begin}:runs"
        self.consumers = f"{begin}:consumers"

    def consumer(self, name: str) -> str:
        """What a consumer says of itself."""
        return f"{self._begin}:consumer:{name}"

    def control(self, name: str) -> str:
        """The stream of what a consumer is to do."""
        return f"{self._begin}:consumer:{name}:control"

    def run(self, name: str) -> str:
        """A hash: ``settings``, ``incarnation``, ``paused``."""
        return f"{self._begin}:{name}"

    def attempts(self, name: str) -> str:
        """The stream of attempts that wait."""
        return f"{self._begin}:{name}:attempts"

    def reports(self, name: str) -> str:
        """The stream of what consumers report."""
        return f"{self._begin}:{name}:reports"

    def claims(self, name: str) -> str:
        """A hash: which consumer does, or has done, an attempt."""
        return f"{self._begin}:{name}:claims"

    def origin(self, name: str) -> str:
        """A text: the token of the run that it is an execution of."""
        return f"{self._begin}:{name}:origin"

    def all_of(self, name: str) -> list[str]:
        """Every key of an execution."""
        return [self.run(name), self.attempts(name), self.reports(name), self.claims(name), self.origin(name)]


REDIS: Final = Keys("manyhands")
"""With Redis Streams."""


def keys_for(kind: str) -> Keys:
    """The names with a backend."""
    return REDIS if kind == "redis" else Keys(f"manyhands:{kind}")


def attempt(id: tuple[int, int]) -> str:
    """An attempt in `Keys.claims`."""
    return f"{id[0]}.{id[1]}"
