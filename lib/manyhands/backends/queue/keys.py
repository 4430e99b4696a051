"""The names of everything that we keep in a broker: they say whose it is, and what.

manyhands:runs                          the executions that have attempts for consumers
manyhands:consumers                     the consumers
manyhands:consumer:NAME                 what a consumer says of itself; expires with its lease
manyhands:consumer:NAME:control         what it is to do at once
manyhands:RUN                           settings of an execution; expires with its lease
manyhands:RUN:attempts, :reports, :claims
"""

from __future__ import annotations

from typing import Final

RUNS: Final = "manyhands:runs"
CONSUMERS: Final = "manyhands:consumers"
GROUP: Final = "consumers"
"""The consumer group that reads the attempts of an execution."""
FIELD: Final = b"message"
"""The field of a stream's entry that holds the message."""


def consumer(name: str) -> str:
    """What a consumer says of itself."""
    return f"manyhands:consumer:{name}"


def control(name: str) -> str:
    """The stream of what a consumer is to do."""
    return f"manyhands:consumer:{name}:control"


def run(name: str) -> str:
    """A hash: ``settings``, ``incarnation``, ``paused``, ``token``, ``coordinator``."""
    return f"manyhands:{name}"


def attempts(name: str) -> str:
    """The stream of attempts that wait."""
    return f"manyhands:{name}:attempts"


def reports(name: str) -> str:
    """The stream of what consumers report."""
    return f"manyhands:{name}:reports"


def claims(name: str) -> str:
    """A hash: which consumer does, or has done, an attempt."""
    return f"manyhands:{name}:claims"


def all_of(name: str) -> list[str]:
    """Every key of an execution."""
    return [run(name), attempts(name), reports(name), claims(name)]


def attempt(id: tuple[int, int]) -> str:
    """An attempt in `claims`."""
    return f"{id[0]}.{id[1]}"
