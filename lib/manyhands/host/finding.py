"""What a probe of this machine has found (`manyhands.host.doctor`)."""

from __future__ import annotations

from enum import StrEnum

from manyhands.core.records import dataclass


class Health(StrEnum):
    """What a probe found."""

    OK = "ok"
    LIMITED = "limited"
    """It works with restrictions."""
    BROKEN = "broken"
    """Something that manyhands promises does not hold here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``seen``: what was tried, with the result; ``so``: the consequence, ``fix``: the way out, both None if all is well."""

    name: str
    health: Health
    seen: str
    so: str | None = None
    fix: str | None = None

    @classmethod
    def ok(cls, name: str, seen: str) -> Finding:
        """All is well."""
        return cls(name, Health.OK, seen)

    @classmethod
    def limited(cls, name: str, seen: str, so: str, fix: str) -> Finding:
        """It works with restrictions."""
        return cls(name, Health.LIMITED, seen, so, fix)

    @classmethod
    def broken(cls, name: str, seen: str, so: str, fix: str) -> Finding:
        """A promise does not hold here."""
        return cls(name, Health.BROKEN, seen, so, fix)
