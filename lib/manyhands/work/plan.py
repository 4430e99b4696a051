"""The request for a run: one frozen record, written to run.json, so that the run can be resumed exactly.

Separate from the batch that carries it out, and from the folder that stores it. Values of environment variables that look like secrets
are not stored; they must be in the environment when the run is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from manyhands.core.errors import JournalError, UsageError
from manyhands.core.hints import given_as
from manyhands.core.limits import Backoff, Halt, Limits, RetryOn, parse_timeout
from manyhands.core.masking import is_secret
from manyhands.core.records import dataclass, field, replace, values_of
from manyhands.options.choices import Order
from manyhands.work.host_files import Files
from manyhands.work.shard import Shard
from manyhands.work.template import Template
from manyhands.work.work import Work
from manyhands.work.worker_settings import Workers

if TYPE_CHECKING:
    from manyhands.work.broker_url import Broker
    from manyhands.work.cluster_address import Cluster
    from manyhands.work.function import Call


@dataclass(frozen=True, slots=True)
class Stage:
    """What is done with each input after the stage before, with slots and a backend of its own."""

    work: Work
    jobs: int
    backend: str
    climb: bool = False
    """See `Limits.climb`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides what a run does. ``source`` is `manyhands.inputs.sources.Source.spec`."""

    work: Work
    """What is done with each input."""
    source: dict[str, Any]
    limits: Limits
    workdir: str
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    nice: int = 0
    allow_daemons: bool = False
    backend: str = "commands"
    workers: Workers = field(default_factory=Workers)
    tag: bool = False
    order: Order = "input"
    """The order in which jobs begin; ``longest``: those first that took longest in an earlier run of the same work."""
    then: tuple[Stage, ...] = ()
    """What is done with each input after that, if it succeeded."""
    streamed: bool = False
    """Whether the inputs came from a stream and are stored in the run's folder."""
    on: tuple[str, ...] = ()
    """The hosts that run the commands, as they are given to ssh, each perhaps with ``:SLOTS``; ``workdir`` is there."""
    ssh: str = "ssh"
    on_each: bool = False
    """Whether each job belongs to one of these hosts, whose name, without slots, is the last column of its input."""
    files: Files | None = None
    """The files that travel to these hosts and back."""
    lease: float = 60.0
    """Seconds of silence after which these hosts end their jobs, and are given up here."""
    broker: Broker | None = None
    """Where jobs wait for consumers, with a backend that has a queue; ``workdir`` is a folder there."""
    cluster: Cluster | None = None
    """Whose workers do the jobs, with the backend ``dask``; ``workdir`` is a folder there."""
    shard: Shard | None = None
    """Which part of a run it is, if it is one: ``source`` has only the inputs of that part."""
    spool_limit: int = 1 << 30
    """Bytes of such inputs that are stored before the stream has to wait for the jobs (0: it never waits)."""

    def to_json(self) -> dict[str, Any]:
        """The content of run.json; `from_json` is the inverse, except for secrets."""
        limits = self.limits
        return {
            **self.work.to_json(),
            "then": [
                {**one.work.to_json(), "jobs": one.jobs, "backend": one.backend, "climb": one.climb} for one in self.then
            ],
            "workers": values_of(self.workers),
            "source": self.source,
            "workdir": self.workdir,
            "environment": {name: None if is_secret(name, value) else value for name, value in self.environment.items()},
            "stdin": self.stdin,
            "nice": self.nice,
            "allow_daemons": self.allow_daemons,
            "backend": self.backend,
            "tag": self.tag,
            "order": self.order,
            "streamed": self.streamed,
            **({"on": [*self.on], "ssh": self.ssh, "on_each": self.on_each, "lease": self.lease} if self.on else {}),
            **({"files": values_of(self.files)} if self.files else {}),
            **({"broker": self.broker.to_json()} if self.broker else {}),
            **({"cluster": self.cluster.to_json()} if self.cluster else {}),
            **({"shard": self.shard.to_json()} if self.shard else {}),
            "spool_limit": self.spool_limit,
            "limits": {
                "jobs": limits.jobs,
                "climb": limits.climb,
                "timeout": str(limits.timeout) if limits.timeout else None,
                "grace": limits.grace,
                "retries": limits.retries,
                "delay": limits.delay,
                "backoff": str(limits.backoff),
                "halt": str(limits.halt),
                "retry_on": str(limits.retry_on) if limits.retry_on else None,
                "keep_order": limits.keep_order,
                "output_cap": limits.output_cap,
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], environ: Mapping[str, str]) -> Plan:
        """Read a plan back; secrets are taken from ``environ``. Raises UsageError if one is missing there, JournalError if the
        record is not a plan."""
        try:
            return cls._from_json(record, environ)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise JournalError(
                f"the run {record.get('id')!s:.70} cannot be read: its run.json is damaged ({error!r:.200})"
            ) from error

    @classmethod
    def _from_json(cls, record: Mapping[str, Any], environ: Mapping[str, str]) -> Plan:
        given = dict(record["limits"])
        parsed = {
            "timeout": parse_timeout(given["timeout"]),
            "halt": Halt.parse(given["halt"]),
            "backoff": Backoff.parse(given["backoff"]),
            "retry_on": RetryOn.parse(given["retry_on"]) if given.get("retry_on") else None,
        }
        limits = Limits(**given | parsed)
        then = tuple(
            Stage(work_from_json(one), one["jobs"], one["backend"], one.get("climb", False))
            for one in record.get("then", ())
        )
        environment = {}
        for name, value in record["environment"].items():
            if value is None and name not in environ:
                raise UsageError(
                    f"the run was given {name}, whose value is not stored: set it in the environment to continue"
                )
            environment[name] = environ[name] if value is None else value
        names = ("source", "workdir", "stdin", "nice", "allow_daemons", "backend", "tag", "streamed")
        workers = Workers(**record.get("workers", {}))
        return cls(
            work=work_from_json(record),
            then=then,
            limits=limits,
            environment=environment,
            workers=workers,
            order=record.get("order", "input"),
            spool_limit=record.get("spool_limit", 1 << 30),
            on=tuple(record.get("on", ())),
            ssh=record.get("ssh", "ssh"),
            on_each=record.get("on_each", False),
            lease=record.get("lease", 60.0),
            files=Files(**record["files"]) if record.get("files") else None,
            broker=_broker(record.get("broker"), environ),
            cluster=_cluster(record.get("cluster")),
            shard=Shard.from_json(record["shard"]) if record.get("shard") else None,
            **{name: record[name] for name in names},
        )

    @property
    def max_args(self) -> int | None:
        """How many inputs a job has; None: one, with its columns."""
        return self.work.group

    @property
    def works(self) -> list[Work]:
        """What is done with each input, stage by stage."""
        return [self.work, *(one.work for one in self.then)]

    @property
    def call(self) -> Call | None:
        """The function that the first stage calls, if it calls one."""
        return cast("Call", self.work) if self.work.is_function else None

    def same_work(self, other: Plan) -> bool:
        """Whether a run of this plan may be continued as a run of the other: the commands must be the same."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[object, ...]:
        return (self.workdir, *(one.identity for one in self.works))

    @property
    def text(self) -> str:
        """What is done, in words."""
        return " --then ".join(one.text for one in self.works)

    def stage(self, number: int) -> Plan:
        """The plan of stage ``number``, from 1, alone; order and halting apply to all stages together."""
        limits = replace(self.limits, keep_order=False)
        if number == 1:
            return replace(self, then=(), limits=limits)
        one = self.then[number - 2]
        limits = replace(limits, jobs=one.jobs, climb=one.climb)
        return replace(self, then=(), work=one.work, limits=limits, backend=one.backend, order="input", streamed=False)

    def with_jobs(self, jobs: int) -> Plan:
        """A copy with another number of slots."""
        return replace(self, limits=replace(self.limits, jobs=jobs, climb=False))


def _broker(record: Mapping[str, Any] | None, environ: Mapping[str, str]) -> Broker | None:
    if record is None:
        return None
    from manyhands.work.broker_url import Broker  # here: most runs have none

    return Broker.from_json(record, environ)


def _cluster(record: Mapping[str, Any] | None) -> Cluster | None:
    if record is None:
        return None
    from manyhands.work.cluster_address import Cluster  # here: most runs have none

    return Cluster.from_json(record)


def for_stages(option: str, text: str, stages: int) -> list[str]:
    """One value for all stages, or one for each."""
    values = text.split(",")
    if len(values) == 1:
        return values * stages
    if len(values) != stages:
        raise UsageError(f"{given_as(option, text)}: there are {stages} stages: give one value for all, or one for each")
    return values


def work_from_json(record: Mapping[str, Any]) -> Template | Call:
    """The inverse of `Work.to_json`."""
    if record.get("call"):
        from manyhands.work.function import Call  # here: commands need none of it

        return Call.from_json(record)
    text, shell = record["template"], record["shell"]
    on_each = record.get("on_each", False)
    if record.get("lines"):
        return replace(Template.each_line(shell=shell), on_each=on_each)
    template = Template.from_args(text) if isinstance(text, list) else Template.parse(text, shell=shell)
    warm = record.get("warm")
    return replace(template, group=record.get("group"), on_each=on_each, warm=None if warm is None else tuple(warm))
