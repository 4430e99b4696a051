"""Random kills: runs with every option that holds state, killed with -9 at random points, resumed, and judged by their jobs.

    seed --drawn--> Trial (options, inputs, points) --begin, kill -9, look who lives, resume ...--> ledger --judged--> faults

What a trial does and where it is killed depends on its seed alone; how far a machine has come by then does not. It is judged
by the ledger that the jobs write (`kill_jobs`) and by /proc, never by what the tool reports:

    nothing is lost; what the journal had is not run again; at most ``jobs`` are repeated per kill (`Trial.repeats`); no two
    copies of a job at once; a second after a kill nothing of it lives.

Through a queue consumers go on after a kill, so that nothing lives is only looked for in the end; they are killed now and then, too.
Over ssh it is looked for within two seconds.

By hand: ``python tests/kill_lab.py --kills 200 --seed 1``, with ``--backend redis`` or ``ssh`` for other machines; `invoke dev.soak` does
so, and a test does a tenth.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import OperationalError, connect

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

from kill_jobs import ALLOWED, MARK, SCRIPT  # noqa: E402
from lab_surroundings import QUEUES, LabHosts, LabQueue  # noqa: E402
from manyhands.posix import linux  # noqa: E402

_PATIENCE = 120.0
"""Seconds after which an execution counts as hanging."""
_HALTS = 3
"""Executions after the kills of a trial that a rule may halt."""
_COMMANDS = ("commands", "command-threads")
ELSEWHERE = (*QUEUES, "ssh")
_STOPPABLE = ("commands", "processes", "asyncio", "gevent", *ELSEWHERE)
_IN_COORDINATOR = ("threads", "asyncio", "gevent", "serial")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run and its kills. ``points``: after so many lines of the ledger, each with a wait in seconds; ``complete``: all
    inputs are to be done in the end (no rule ends the run before)."""

    seed: int
    backend: str
    options: tuple[str, ...]
    names: tuple[str, ...]
    source: str
    again: str
    work: str
    width: int
    retries: int
    stages: int
    points: tuple[tuple[int, float], ...]
    daemons: bool
    complete: bool
    commands: bool
    consumers: int
    """How many there are of a queue; each has ``width`` slots."""
    rests: tuple[float, ...]
    """Seconds from each kill to the next execution, in which consumers go on."""

    @classmethod
    def of(cls, seed: int, elsewhere: str | None = None) -> Trial:
        """What ``seed`` stands for; ``elsewhere``: one of `ELSEWHERE`, if it is a trial of that backend."""
        chance = random.Random(seed)
        backend = chance.choice(
            ["commands"] * 4 + ["processes"] * 3 + ["command-threads", "threads", "asyncio", "gevent", "serial"]
        )
        backend = elsewhere or backend
        commands = backend in _COMMANDS or backend == "ssh" or (backend in QUEUES and chance.random() < 0.7)
        width = chance.choice([1, 2, 4, 4, 8])
        jobs = "auto" if backend in ("commands", "processes") and chance.random() < 0.15 else str(width)
        retries = chance.choice([0, 0, 1, 2])
        stages = chance.choice([1, 1, 2]) if backend != "ssh" else 1
        options = ["-j", "1" if backend == "serial" else jobs]
        if retries:
            options += ["--retries", str(retries), "--backoff", chance.choice(["0.05", "0.5"])]
        if chance.random() < 0.3:
            options += ["--no-keep-order"]
        limited = backend in _STOPPABLE and chance.random() < 0.4
        if limited:
            options += ["--timeout", "2"]
        halts = chance.random() < 0.15
        if halts:
            options += ["--halt", chance.choice(["soon,fail=2", "now,fail=2", "now,fail=40%", "soon,done=20"])]
        daemons = backend in _COMMANDS and chance.random() < 0.3
        if daemons:
            options += ["--allow-daemons"]
        source = chance.choice(["args", "file", "pipe", "pipe"])
        names = _names(chance, limited, daemons, commands)
        return cls(
            seed,
            backend,
            tuple(options),
            names,
            source,
            chance.choice(["resume", "same"]),
            chance.choice(["0", "0", "0.01", "0.05", "0.2"]),
            1 if backend == "serial" else 32 if jobs == "auto" else width,
            retries,
            stages,
            _points(chance, 2 * stages * len(names)),
            daemons,
            not halts,
            commands,
            chance.choice([1, 1, 2]) if backend in QUEUES else 0,
            tuple(chance.choice([0.0, 0.0, 0.3, 1.0, 4.0]) for _ in range(4)) if elsewhere else (0.0,) * 4,
        )

    def command(self, folder: Path, more: Sequence[str] = ()) -> list[str]:
        """What runs it; what the first stage gets, the second gets, too. ``more``: options of the trial's surroundings."""
        if self.commands:
            work = [f"sh {shlex.quote(str(folder / 'job.sh'))} {stage} {{}}" for stage in (1, 2)]
            start = ["batch"]
        else:
            prefix = "async_" if self.backend == "asyncio" else ""
            module = "kill_jobs" if self.consumers else HERE / "kill_jobs.py"
            work = [f"{module}:{prefix}{name}" for name in ("first", "second")]
            start = ["batch.call"]
        then = ["--then", work[1]] if self.stages == 2 else []
        backend = [] if self.backend == "ssh" else ["--backend", self.backend]
        return [*start, work[0], *backend, *self.options, *more, *then, "--run-id", "lab"]

    @property
    def slots(self) -> int:
        """How many attempts run at once at most: every stage has its own, but consumers have theirs for all."""
        return self.width * (self.consumers or self.stages)

    @property
    def repeats(self) -> int:
        """How many jobs one kill may repeat: those that ran; where jobs live in the coordinator or on other hosts, what had ended within the 20 ms
        before its next commit, too (here 100 ms: the machine may be busy), because nobody else remembers that. All slots may end at once."""
        return self.slots + (self.unsaid if self.backend in (*_IN_COORDINATOR, "ssh") else 0)

    @property
    def unsaid(self) -> int:
        """How many jobs may have ended in 100 ms."""
        return self.slots * math.ceil(0.1 / max(float(self.work), 0.001))

    def fails(self, name: str) -> bool:
        """Whether a job does not end well however often it is tried."""
        return name.startswith(("bad", "slow")) or (name.startswith("flaky") and not self.retries)

    def begins(self, name: str, executions: int) -> int:
        """How often it begins at most if nothing is cut off; every execution has all its retries for what has failed."""
        return (self.retries + 1) * executions if self.fails(name) else 2 if name.startswith("flaky") else 1


def _names(chance: random.Random, limited: bool, daemons: bool, commands: bool) -> tuple[str, ...]:
    kinds = ["ok"] * 12 + ["bad", "flaky", "flaky"]
    kinds += ["bare"] * 2 if commands else []
    kinds += ["slow"] if limited else []
    kinds += ["daemon"] if daemons else []
    return tuple(f"{chance.choice(kinds)}{number}" for number in range(chance.choice([12, 40, 120])))


def _points(chance: random.Random, lines: int) -> tuple[tuple[int, float], ...]:
    """Where it is killed: mostly while jobs run, now and then while it starts."""
    found, line = [], 0
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.15:
            found.append((line, chance.uniform(0, 0.8)))
        else:
            line += chance.randint(1, max(1, lines // 2))
            found.append((line, chance.choice([0.0, 0.0, chance.uniform(0, 0.05), chance.uniform(0, 0.5)])))
    return tuple(found)


@dataclass(slots=True)
class Ledger:
    """What the jobs wrote, in its order."""

    path: Path

    def lines(self) -> list[list[str]]:
        """Every line, as words."""
        with suppress(FileNotFoundError):
            return [line.split() for line in self.path.read_text().splitlines()]
        return []

    def count(self) -> int:
        """How many lines there are."""
        with suppress(FileNotFoundError):
            return self.path.read_bytes().count(b"\n")
        return 0

    def began(self) -> Counter[tuple[str, str]]:
        """How often each job of each stage began."""
        return Counter((words[1], words[2]) for words in self.lines() if words[0] == "begin")

    def ended_well(self) -> Counter[tuple[str, str]]:
        """How often each ended well."""
        return Counter((words[1], words[2]) for words in self.lines() if words[0] == "end" and words[4] == "ok")

    def overlaps(self) -> list[str]:
        """The jobs that began again while an earlier copy went on to its end."""
        last: dict[tuple[str, str], list[str]] = {}
        found = []
        for words in self.lines():
            job = words[1], words[2]
            if words[0] == "begin":
                last[job] = words
            elif last[job][3] != words[3] or last[job][0] == "end":
                found.append(f"{words[2]} at stage {words[1]}")
            else:
                last[job] = words
        return found


@dataclass
class Lab:
    """A trial under way, in a folder of its own."""

    trial: Trial
    folder: Path
    patience: float
    faults: list[str] = field(default_factory=list)
    executions: int = 0
    kills: int = 0
    surroundings: LabQueue | LabHosts | None = None
    repeats: int = 0
    """How many jobs the kills so far may repeat."""

    def __post_init__(self) -> None:
        (self.folder / "job.sh").write_text(SCRIPT)
        (self.folder / "inputs").write_text("".join(f"{name}\n" for name in self.trial.names))
        self.ledger = Ledger(self.folder / "ledger")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MANYHANDS", "MH_"))}
        self.environment = kept | {
            MARK: str(self.folder),
            "LEDGER": str(self.ledger.path),
            "WORK": self.trial.work,
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "PYTHONPATH": f"{HERE.parent / 'lib'}:{HERE}",
        }

    def run(self) -> list[str]:
        """Begin, kill, look, resume to the end; what went wrong."""
        with ExitStack() as stack:
            if self.trial.consumers:
                environment = {name: value for name, value in self.environment.items() if name != MARK}
                queue = LabQueue(self.trial.backend, self.folder, environment, self.trial.consumers, self.trial.width)
                self.surroundings = stack.enter_context(queue)
            elif self.trial.backend == "ssh":
                given = {name: self.environment[name] for name in (MARK, "LEDGER", "WORK")}
                self.surroundings = stack.enter_context(LabHosts(self.folder, given, self.trial.width))
                self.patience += 1
            self.try_out()
        return self.faults

    def try_out(self) -> None:
        """The same, in its surroundings."""
        for line, wait in self.trial.points:
            before = self.recorded()
            began = self.ledger.began()
            killed = self.killed(line, wait)
            self.check_records(before, began)
            if not killed:
                break
        for _ in range(1 if self.trial.complete else _HALTS):
            self.finish()
        self.judge()

    # -- executions ------------------------------------------------------------------------------------------------------

    def start(self) -> subprocess.Popen[bytes]:
        """Begin, or go on as the trial wants it."""
        self.executions += 1
        resumed = self.trial.again == "resume" and self.ledger.count() > 0
        stdin: int | None = subprocess.DEVNULL
        if resumed:
            arguments = ["batch.resume", "lab"]
        else:
            arguments = self.trial.command(self.folder, self.surroundings.options if self.surroundings else ())
            if self.trial.source == "args":
                arguments += ["--", *self.trial.names]
            elif self.trial.source == "file":
                arguments += ["--from", str(self.folder / "inputs")]
            else:
                stdin = subprocess.PIPE
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "manyhands", *arguments],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd=self.folder,
                env=self.environment,
            )
        if process.stdin is not None:
            threading.Thread(target=_feed, args=(process, self.trial.names), daemon=True).start()
        return process

    def killed(self, line: int, wait: float) -> bool:
        """Run until the ledger has so many lines and a moment more, then kill -9; False when it ended before."""
        process = self.start()
        deadline = time.monotonic() + _PATIENCE
        while self.ledger.count() < line and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        if process.poll() is not None:
            return False
        if time.monotonic() >= deadline:
            self.faults.append(f"hangs at {self.ledger.count()} of {line} lines: {self.said()}")
        process.kill()
        process.wait()
        self.kills += 1
        self.repeats += self.trial.repeats
        if not isinstance(self.surroundings, LabQueue):
            self.look_for_survivors(f"after kill {self.kills}")
        elif self.kills % 3 == 0:
            self.repeats += self.trial.unsaid  # what a killed consumer has not reported
            self.surroundings.kill_one()
        time.sleep(self.trial.rests[self.kills - 1])
        return True

    def finish(self) -> None:
        """Go on to the end."""
        process = self.start()
        try:
            status = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.faults.append(f"the last execution hangs: {self.said()}")
            process.kill()
            status = process.wait()
        if status not in (0, 1):
            self.faults.append(f"the last execution ended with {status}: {self.said()}")

    def said(self) -> str:
        """The last that it said."""
        return " | ".join((self.folder / "said").read_text(errors="replace").splitlines()[-4:])

    # -- judging ---------------------------------------------------------------------------------------------------------

    def living(self) -> Iterator[linux.ProcStat]:
        """What lives of this trial, but daemons that may: by its environment, or by the job's file in its command line."""
        mark, script = f"{MARK}={self.folder}".encode(), str(self.folder / "job.sh").encode()
        for one in linux.processes():
            if one.state in "ZX" or (self.trial.daemons and linux.has_tag(one.pid, f"{ALLOWED}=1".encode())):
                continue
            with suppress(OSError):
                if linux.has_tag(one.pid, mark) or script in Path(f"/proc/{one.pid}/cmdline").read_bytes():
                    yield one

    def look_for_survivors(self, when: str) -> None:
        """After a kill, or its end, nothing is to live on."""
        deadline = time.monotonic() + self.patience
        while living := list(self.living()):
            if time.monotonic() > deadline:
                lines = [Path(f"/proc/{one.pid}/cmdline") for one in living]
                text = [
                    line.read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
                    for line in lines
                    if line.exists()
                ]
                self.faults.append(f"{len(living)} alive {self.patience:g} s {when}: {text[:3]}")
                return
            time.sleep(0.005)

    def recorded(self) -> set[tuple[str, str]]:
        """(stage, name) of what the journals say is done."""
        found: set[tuple[str, str]] = set()
        paths = sorted((self.folder / "state").rglob("journal.db"), key=lambda path: (len(path.parts), path))
        for stage, path in enumerate(paths, 1):
            with closing(connect(f"file:{path}?mode=ro", uri=True)) as db, suppress(OperationalError):
                rows = db.execute(
                    "SELECT b.input FROM began b JOIN ended e USING (job, attempt) WHERE e.status = 'ok'"
                ).fetchall()
                if len(rows) != len(set(rows)):
                    self.faults.append(f"recorded twice: {rows}")
                # the first column; the second stage of calls keeps what the first one returned
                found |= {(str(stage), row[0].decode().strip('"[] ')) for row in rows}
        return found

    def check_records(self, before: set[tuple[str, str]], began: Counter[tuple[str, str]]) -> None:
        """What was recorded stays recorded, and has not run again."""
        if lost := before - self.recorded():
            self.faults.append(f"records lost: {sorted(lost)[:5]}")
        now = self.ledger.began()
        if again := [job for job in before if now[job] > began[job]]:
            self.faults.append(f"{len(again)} recorded jobs ran again: {sorted(again)[:5]}")

    def judge(self) -> None:
        """The whole of it, by the ledger."""
        self.look_for_survivors("after the end")
        trial, began, well = self.trial, self.ledger.began(), self.ledger.ended_well()
        stages = [str(stage) for stage in range(1, trial.stages + 1)]
        wanted = {(stage, name) for stage in stages for name in trial.names if not trial.fails(name)}
        if trial.source == "pipe" and trial.again == "resume":
            wanted = {(stage, name) for stage, name in wanted if began["1", name]}  # what had not come cannot be known
        if trial.complete and (lost := wanted - set(well)):
            self.faults.append(f"{len(lost)} lost: {sorted(lost)[:5]}; {self.said()}")
        if false := self.recorded() - set(well):
            self.faults.append(f"recorded as done without being so: {sorted(false)[:5]}")
        if overlaps := self.ledger.overlaps():
            self.faults.append(f"{len(overlaps)} ran twice at once: {overlaps[:5]}")
        # what a rule ends at once, the next execution does again, as after a kill
        most = self.repeats + (0 if trial.complete else _HALTS * trial.repeats)
        surplus = {
            job: more for job, count in began.items() if (more := count - trial.begins(job[1], self.executions)) > 0
        }
        if (repeated := sum(surplus.values())) > most:
            self.faults.append(f"{repeated} repeated by {self.kills} kills, at most {most} may be: {_counted(surplus)}")


def _counted(surplus: dict[tuple[str, str], int]) -> str:
    """The jobs that were repeated most, by stage."""
    most = sorted(surplus.items(), key=lambda one: -one[1])[:6]
    return ", ".join(f"{stage}:{name} +{times}" for (stage, name), times in most)


def _feed(process: subprocess.Popen[bytes], names: Sequence[str]) -> None:
    """Write the inputs into the pipe, a few at a time."""
    assert process.stdin is not None
    with suppress(OSError, ValueError), process.stdin as pipe:
        for start in range(0, len(names), 7):
            pipe.write("".join(f"{name}\n" for name in names[start : start + 7]).encode())
            pipe.flush()
            time.sleep(0.01)


def try_out(seed: int, elsewhere: str | None = None, *, patience: float = 1.0) -> tuple[Trial, int, list[str]]:
    """(the trial, how often it was killed, what went wrong) of one seed."""
    trial = Trial.of(seed, elsewhere)
    folder = Path(tempfile.mkdtemp(prefix="kill-lab-")).resolve()
    lab = Lab(trial, folder, patience)
    try:
        faults = lab.run()
    finally:
        for one in linux.processes():  # daemons that were allowed, and what should not have lived
            if linux.has_tag(one.pid, f"{MARK}={folder}".encode()):
                linux.send_signal_exact(one.pid, one.start, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    return trial, lab.kills, faults


def described(trial: Trial) -> str:
    """How to see it again, and what it does."""
    points = ", ".join(f"{line} lines + {wait:.2f} s" for line, wait in trial.points)
    return (
        f"seed {trial.seed}: {' '.join(trial.command(Path()))}, {len(trial.names)} inputs by {trial.source}, work {trial.work}, "
        f"killed at {points}, then {trial.again}" + (f", {trial.consumers} consumers" if trial.consumers else "")
    )


def main() -> int:
    """As many seeds, from one on, as so many kills need; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", choices=ELSEWHERE, help="jobs on other machines, which other trials have not")
    parser.add_argument("--patience", type=float, default=1.0, help="seconds that something may live after a kill")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that a trial cleans up after itself
    kills = bad = tried = 0
    seed = asked.seed
    while kills < asked.kills:
        trial, killed, faults = try_out(seed, asked.backend, patience=asked.patience)
        kills, bad, tried, seed = kills + killed, bad + bool(faults), tried + 1, seed + 1
        for fault in faults:
            print(f"{described(trial)}\n    {fault}", flush=True)
    print(f"{tried} trials, {kills} kills, {bad} trials with faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
