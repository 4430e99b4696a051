"""The hosts of a batch, as they are typed: ``web1``, ``web1:4``, ``ops@db1``, ``[::1]:4``, ``web[01-20]``, ``@hosts.txt``.

A name is one that ssh knows: a host, ``user@host``, or a name from its configuration, which also says the port. What follows
a colon is the number of slots.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from manyhands.core.errors import UsageError
from manyhands.core.hints import given_as
from manyhands.core.lean import NamedTuple
from manyhands.posix.home import expanded

_MOST: Final = 10_000
"""Hosts that a range may stand for."""
_HOST: Final = re.compile(
    r"(?:(?P<user>[^@\s\[\]:]+)@)?(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^@\s\[\]:]+))(?::(?P<slots>[0-9]{1,5}))?"
)
_RANGE: Final = re.compile(r"([^\[\]]*)\[(\d{1,6})-(\d{1,6})\](.*)")


class HostName(NamedTuple):
    """A host by the name that ssh knows; ``slots`` None: as many as it has usable cores."""

    name: str
    slots: int | None = None

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        user, at, host = self.name.rpartition("@")
        name = user + at + (f"[{host}]" if ":" in host else host)
        return name if self.slots is None else f"{name}:{self.slots}"

    @classmethod
    def parse(cls, text: str, option: str = "--on") -> HostName:
        """One host, given by ``option``. Raises UsageError; a name that ssh would take for an option is none."""
        match = _HOST.fullmatch(text)
        if not match or text.startswith("-") or (match["ipv6"] and not is_ipv6(match["ipv6"])):
            raise UsageError(f"{given_as(option, repr(text))}: expected HOST, HOST:SLOTS, USER@HOST or [IPV6]:SLOTS")
        slots = None if match["slots"] is None else int(match["slots"])
        if slots is not None and not 0 < slots <= 1024:
            raise UsageError(f"{given_as(option, repr(text))}: a host has 1 to 1024 slots")
        user = f"{match['user']}@" if match["user"] else ""
        return cls(user + (match["ipv6"] or match["name"]), slots)


def hosts_of(given: Iterable[str], option: str = "--on") -> tuple[HostName, ...]:
    """All hosts that ``option`` gives, in order. Raises UsageError for what is none, for none at all, and for one that is named twice."""
    found = [HostName.parse(one, option) for text in given for one in _listed(text, option)]
    if not found:
        raise UsageError(f"{given_as(option, ','.join(given))}: there is no host in it")
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{given_as(option, twice)}: the host is named twice; HOST:SLOTS gives it more slots")
    return tuple(found)


def _listed(text: str, option: str) -> Iterator[str]:
    """The hosts in one argument, or in the file that it names; ranges are written out."""
    for one in re.split(r",(?![^\[]*\])", text):
        if one.startswith("@"):
            for line in _lines(one[1:], option):
                yield from _written_out(line, option)
        elif one.strip():
            yield from _written_out(one.strip(), option)


def _lines(path: str, option: str) -> list[str]:
    try:
        text = Path(expanded(path)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"{given_as(option, '@' + path)}: {why}") from None
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _written_out(text: str, option: str) -> Iterator[str]:
    """``web[01-03]``: ``web01``, ``web02``, ``web03``."""
    match = _RANGE.fullmatch(text)
    if not match:
        yield text
        return
    before, first, last, after = match.groups()
    if not 0 <= int(last) - int(first) < _MOST:
        raise UsageError(f"{given_as(option, repr(text))}: expected a range such as [01-20] of at most {_MOST} hosts")
    for number in range(int(first), int(last) + 1):
        yield from _written_out(f"{before}{number:0{len(first)}}{after}", option)


def is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, perhaps with a zone."""
    from ipaddress import IPv6Address  # here: a batch without hosts needs none of it

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
