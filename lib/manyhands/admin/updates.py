"""Packages with pending updates, those for security first: of Debian and its descendants, as apt knows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from manyhands.admin.programs import failure, program
from manyhands.admin.report import counted, report
from manyhands.core.level import Level
from manyhands.core.records import dataclass
from manyhands.options.admin import UpdatesOptions

_LINE: Final = re.compile(r"Inst (?P<name>\S+)(?: \[(?P<old>[^]]+)\])? \((?P<new>\S+) (?P<origin>.*?)(?: \[\S+\])?\)")
"""As ``apt-get --simulate`` prints it: ``Inst libc6 [2.36-9] (2.36-9+deb12u7 Debian-Security:12/stable-security [amd64])``."""


@dataclass(frozen=True, slots=True)
class Update:
    """A package that can be updated. ``installed``: its version now; None: it is new, and another one needs it."""

    package: str
    installed: str | None
    version: str
    origin: str
    security: bool
    level: Level


def updates(options: UpdatesOptions) -> int:
    """Print the packages with pending security updates."""
    import sh

    apt = program("apt-get", package="apt")
    try:
        # what an upgrade would do, without doing it; needs no root, and changes nothing
        said = apt("--simulate", "--quiet", "--option", "APT::Get::Show-User-Simulation-Note=no", "dist-upgrade")
    except sh.ErrorReturnCode as error:
        raise failure(error) from None
    found = list(pending(said))
    urgent = [one for one in found if one.security]
    return report(
        found if options.all else urgent,
        schema="update",
        summary=f"{counted(len(urgent), 'security update')} pending, {counted(len(found) - len(urgent), 'other')}",
        header=("package", "installed", "update", "from"),
        cells=lambda one: (one.package, one.installed or "", one.version, one.origin),
        json=options.json,
    )


def pending(said: str) -> Iterator[Update]:
    """The updates that apt tells of; its lists are as old as the last ``apt-get update``."""
    for line in said.splitlines():
        if match := _LINE.match(line):
            security = "security" in match["origin"].lower()
            level = Level.CRITICAL if security else Level.OK
            yield Update(match["name"], match["old"], match["new"], match["origin"], security, level)
