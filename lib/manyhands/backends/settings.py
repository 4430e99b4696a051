"""How attempts are carried out, the same for all of a run: plain data for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from manyhands.work.function import Call
from manyhands.work.workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for commands and for functions; paths are absolute."""

    slots: int
    outputs: Path
    """A folder of this run for what jobs print."""
    token: str
    """Marks every process of this run in its environment (``MH_TAG=TOKEN.JOB.ATTEMPT``)."""
    environment: Mapping[bytes, bytes]
    workdir: Path
    grace: float = 5.0
    """Seconds between TERM and KILL."""
    output_cap: int | None = None
    """Bytes kept of each stream."""
    nice: int = 0
    keep_open: tuple[int, ...] = ()
    """Descriptors that must stay open while anything of this run may live (the run's lock)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings(Settings):
    """For backends that run commands."""

    stdin: Path | None = None
    """A file that every command reads from its beginning; None: the null device."""
    allow_daemons: bool = False
    launchers: int = 1
    """At most so many launcher processes; as many as there are cores keeps them all busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings(Settings):
    """For backends that call a function."""

    call: Call
    timed: bool = False
    """Whether jobs have a time-out."""
    columns: tuple[str, ...] = ()
    """Names of the inputs' columns."""
    disposable: bool = False
    """Whether the ``outputs`` go when the batch does."""
    workers: Workers = field(default_factory=Workers)
