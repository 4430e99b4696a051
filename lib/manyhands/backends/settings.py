"""How commands are run, the same for all attempts of a run: plain data for every backend that runs commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """See each field; paths are absolute."""

    slots: int
    outputs: Path
    """A folder of this run for what commands print."""
    token: str
    """Marks every process of this run in its environment (``MH_TAG=TOKEN.JOB.ATTEMPT``)."""
    environment: Mapping[bytes, bytes]
    workdir: Path
    stdin: Path | None = None
    """A file that every command reads from its beginning; None: the null device."""
    grace: float = 5.0
    """Seconds between TERM and KILL."""
    output_cap: int | None = None
    """Bytes kept of each stream."""
    nice: int = 0
    allow_daemons: bool = False
    launchers: int = 1
    """At most so many launcher processes; as many as there are cores keeps them all busy."""
    keep_open: tuple[int, ...] = ()
    """Descriptors that must stay open while anything of this run may live (the run's lock)."""
