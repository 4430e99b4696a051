"""How the attempts of a run are carried out: plain data for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from manyhands.core.records import dataclass, field
from manyhands.work.worker_settings import Workers

if TYPE_CHECKING:
    from manyhands.work.broker_url import BrokerUrl
    from manyhands.work.cluster_address import Cluster
    from manyhands.work.function import Call
    from manyhands.work.python_command import PythonCommand
    from manyhands.work.submitted import Submitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings for commands and for functions; paths are absolute."""

    slots: int
    outputs: Path
    """A folder of this run for the output of jobs."""
    token: str
    """Marks every process of this run in its environment (``MH_TAG=TOKEN.JOB.ATTEMPT``)."""
    environment: Mapping[bytes, bytes]
    workdir: Path
    grace: float = 5.0
    """Seconds between TERM and KILL."""
    output_cap: int | None = None
    """Bytes of each stream that are kept; None: all."""
    nice: int = 0
    keep_open: tuple[int, ...] = ()
    """Descriptors that must stay open while any process of this run may live (the run's lock)."""
    disposable: bool = False
    """Whether ``outputs`` is removed at the end of the batch, however it ends."""
    broker: BrokerUrl | None = None
    """Where attempts wait for consumers, if they do; ``workdir`` and ``stdin`` are there, ``environment`` extends what is there."""
    store: BrokerUrl | None = None
    """The Redis server beside the broker that has everything but the attempts; None: the broker has it, too."""
    submitted: Submitted | None = None
    """The execution in the broker, if it goes on without a coordinator: it is begun or collected, and has its name there already."""
    cluster: Cluster | None = None
    """The Dask cluster whose workers do the attempts, if they do; folder, ``stdin`` and ``environment`` as with a broker."""
    lease: float = 60.0
    """Seconds without a sign of life after which a consumer, or the coordinator of a queue or a cluster, counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings(Settings):
    """For backends that run commands."""

    stdin: Path | None = None
    """A file that every command reads from its beginning; None: the null device."""
    allow_daemons: bool = False
    warm: PythonCommand | None = None
    """The Python script that every command runs, if its imports are to be shared."""
    first_slot: int = 1
    """The number of the first slot; those of a site begin where those of the one before it end."""
    launchers: int = 1
    """The maximum number of launcher processes; one per core keeps all cores busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings(Settings):
    """For backends that call a function."""

    call: Call
    timed: bool = False
    """Whether jobs have a time-out."""
    columns: tuple[str, ...] = ()
    """Names of the inputs' columns."""
    workers: Workers = field(default_factory=Workers)
