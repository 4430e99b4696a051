"""What a seed chooses: how a run is asked for, how its jobs and helpers behave, and what happens to its coordinator."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from manyhands.core.limits import Backoff, Halt, Limits, Timeout
from manyhands.inputs.sources import Spec
from manyhands.work.plan import Plan, Stage
from manyhands.work.template import Template


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a seed chooses; durations are in seconds, what is not counted is a probability."""

    jobs: int
    inputs: int
    retries: int
    backoff: float
    timeout: float | None
    halt: str
    ordered: bool
    hold: int
    piped: bool
    stages: int
    ahead: int
    helpers: int
    failing: float
    stubborn: float
    lateness: float
    doubling: float
    losses: int
    crashes: int
    faults: int
    stops: int

    @classmethod
    def draw(cls, chance: Random) -> Scenario:
        """A scenario; most things are at their usual value, most of the time."""
        rare = chance.random
        rules = (*("never",) * 6, "now,fail=1", "soon,fail=2", "now,success=3", "soon,done=4", "soon,done=30%")
        return cls(
            jobs=chance.randint(1, 4),
            inputs=chance.choice((1, 3, 8, 12, 20)),
            retries=chance.choice((0, 0, 1, 2)),
            backoff=chance.choice((0.0, 1.0, 30.0)),
            timeout=chance.choice((None, None, 3.0)),
            halt=chance.choice(rules),
            ordered=rare() < 0.5,
            hold=chance.choice((0, 3, 2000)),
            piped=rare() < 0.3,
            stages=chance.choice((1, 1, 1, 2, 3)),
            ahead=chance.choice((0, 2, 8)),
            helpers=chance.randint(1, 2),
            failing=chance.choice((0.0, 0.1, 0.5)),
            stubborn=chance.choice((0.0, 0.2)),
            lateness=chance.choice((0.0, 0.0, 0.05, 30.0)),
            doubling=chance.choice((0.0, 0.1)),
            losses=chance.choice((0, 0, 1, 2, 4)),
            crashes=chance.choice((0, 0, 1, 1, 2, 4)),
            faults=chance.choice((0, 1)),
            stops=chance.choice((0, 0, 1, 2)),
        )

    @property
    def names(self) -> list[str]:
        """The inputs, some of which are the same."""
        return [f"input{number % 7 if number % 5 == 0 else number}" for number in range(self.inputs)]

    def plan(self) -> Plan:
        """The same as a plan."""
        timeout = Timeout(seconds=self.timeout) if self.timeout else None
        source: Spec = {"kind": "args", "values": self.names, "name": None}
        if self.piped:
            source = {"kind": "lines", "path": "-", "null": False, "separator": None}
        return Plan(
            work=Template.parse("job {}"),
            source=source,
            workdir="/",
            streamed=self.piped,
            limits=Limits(
                jobs=self.jobs,
                retries=self.retries,
                backoff=Backoff(self.backoff),
                timeout=timeout,
                halt=Halt.parse(self.halt),
                grace=2.0,
                keep_order=self.ordered,
            ),
            then=tuple(Stage(Template.parse(f"stage{n} {{}}"), self.jobs, "commands") for n in range(2, self.stages + 1)),
        )
