"""Killed with -9 and resumed: no job lost, none recorded wrongly, none that was recorded runs again.

Everything is judged by a ledger: a file that the jobs themselves append to, whatever the tool reports.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from conftest import Cli, wait_for, with_tag
from manyhands.posix import linux
from manyhands.storage.journal import Journal

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="what outlives a killed coordinator is found on Linux"
)

# A job says in the ledger that it begins, works, and says that it ends; each line is one write of its own (O_APPEND).
JOB = 'echo "begin $1 $(date +%s%N)" >> {ledger}; sleep {work}; echo "end $1 $(date +%s%N)" >> {ledger}'


class Ledger:
    """What the jobs themselves wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def script(self, folder: Path, work: float) -> str:
        path = folder / "job.sh"
        path.write_text(JOB.format(ledger=self.path, work=work))
        return f"sh {path} {{}}"

    def entries(self) -> list[tuple[str, str, int]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(kind, name, int(when)) for kind, name, when in map(str.split, lines)]

    def ended(self) -> Counter[str]:
        return Counter(name for kind, name, _ in self.entries() if kind == "end")

    def began(self) -> Counter[str]:
        return Counter(name for kind, name, _ in self.entries() if kind == "begin")


def recorded_ok(state: Path, run: str) -> set[str]:
    """The inputs of the jobs that the journal says are done."""
    db = sqlite3.connect(f"file:{state / 'runs' / run / 'journal.db'}?mode=ro", uri=True)
    try:
        rows = db.execute(
            "SELECT b.input FROM began b JOIN ended e USING (job, attempt) WHERE e.status = 'ok'"
        ).fetchall()
    finally:
        db.close()
    assert len(rows) == len(set(rows)), "a job was recorded twice"
    return {row[0].decode() for row in rows}


def start(environment: dict[str, str], folder: Path, *args: str, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "manyhands", *args]
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **{"stdin": subprocess.DEVNULL, **options},
    )


def finish(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    process.wait()
    return said


@pytest.mark.slow
@pytest.mark.sampled
def test_kill_storm(environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """Killed ten times at random moments: what was recorded never runs again, at most ``jobs`` are repeated per kill, two
    copies of a job never overlap, and in the end everything is done and recorded once."""
    ledger = Ledger(tmp_path / "ledger")
    count, jobs, kills = 240, 4, 10
    inputs = [f"input{number}" for number in range(count)]
    script = ledger.script(tmp_path, 0.05)
    chance = random.Random(7)
    args = ["batch", script, "-j", str(jobs), "--run-id", "storm", "--", *inputs]
    done: set[str] = set()
    for _ in range(kills):
        process = start(environment, tmp_path, *args)
        wait_for((own_state / "runs/storm/lock").exists)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        finish(process)
        args = ["batch.resume", "storm"]
        before = recorded_ok(own_state, "storm") if (own_state / "runs" / "storm" / "journal.db").exists() else set()
        assert done <= before, "a record was lost"
        done = before
        runs_of_done = {name: ledger.began()[name] for name in done}
        process = start(environment, tmp_path, *args)
        time.sleep(chance.uniform(0.2, 0.4))
        process.kill()
        finish(process)
        assert {name: ledger.began()[name] for name in done} == runs_of_done, "a recorded job ran again"
    last = start(environment, tmp_path, *args)
    said = finish(last)
    assert last.returncode == 0, said
    assert f"{count} ok" in said
    assert recorded_ok(own_state, "storm") == set(inputs)
    assert set(ledger.ended()) == set(inputs)
    repeated = sum(ledger.began().values()) - count
    assert repeated <= 2 * kills * jobs, repeated  # two kills a round


def overlaps(entries: list[tuple[str, str, int]]) -> int:
    """How often a job wrote its end although a later copy of it had begun: two of them were alive at once."""
    last: dict[str, str] = {}
    found = 0
    for kind, name, _ in sorted(entries, key=lambda entry: entry[2]):
        found += kind == "end" and last.get(name) != "begin"
        last[name] = kind
    return found


@pytest.mark.slow
@pytest.mark.sampled
def test_killed_while_many_quick_results_flow(environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """What had ended, but was on its way to the journal, is not done again: at most ``jobs`` are, at each kill."""
    ledger, jobs, names = tmp_path / "ledger", 4, {str(number) for number in range(400)}
    (tmp_path / "job.sh").write_text(f"echo $1 >> {ledger}")
    for round_ in range(4):
        run, lines = f"quick{round_}", round_ * 60 + 20
        ledger.write_text("")
        process = start(
            environment, tmp_path, "batch", "sh job.sh {}", f"-j{jobs}", "--run-id", run, "--", *sorted(names)
        )
        wait_for(lambda lines=lines: len(ledger.read_text().split()) >= lines, 60)  # type: ignore[misc]
        process.kill()
        finish(process)
        token = json.loads((own_state / "runs" / run / "run.json").read_text())["token"]
        wait_for(
            lambda token=token: (
                not any(  # type: ignore[misc]
                    linux.has_tag(one.pid, f"MH_TAG={token}.".encode(), prefix=True) for one in linux.processes()
                )
            )
        )
        again = start(environment, tmp_path, "batch.resume", run)
        said = finish(again)
        assert again.returncode == 0, said
        done = Counter(ledger.read_text().split())
        assert done.keys() == names
        assert done.total() - len(names) <= jobs


@pytest.mark.slow
@pytest.mark.sampled
def test_never_two_copies_of_a_job_at_once(environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """Killed and resumed at once, again and again: an earlier copy is dead before its job begins again."""
    ledger = Ledger(tmp_path / "ledger")
    args = ["batch", ledger.script(tmp_path, 0.3), "-j", "4", "--run-id", "twice", "--", *map(str, range(8))]
    for _ in range(6):
        process = start(environment, tmp_path, *args)
        wait_for(lambda: (own_state / "runs/twice/lock").exists())
        time.sleep(0.3)
        process.kill()
        finish(process)
        args = ["batch.resume", "twice"]
    assert finish(start(environment, tmp_path, *args)).count("8 ok") == 1
    assert overlaps(ledger.entries()) == 0


def test_jobs_die_with_a_killed_coordinator_even_if_the_launchers_do_not_see_it(
    environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli
) -> None:
    """Everything of ours killed at once, jobs left alone: resume ends them before it begins anything."""
    process = start(
        environment,
        tmp_path,
        "batch",
        "sh -c '[ $MH_ATTEMPT != 1 ] || sleep 60; echo done {}'",
        "-j2",
        "--run-id",
        "both",
        "--",
        "a",
        "b",
    )
    wait_for(lambda: (own_state / "runs/both/run.json").exists())
    token = json.loads((own_state / "runs/both/run.json").read_text())["token"]
    wait_for(lambda: len(with_tag(f"MH_TAG={token}.1.1")) >= 1 and len(with_tag(f"MH_TAG={token}.2.1")) >= 1)
    tree = linux.descendants([process.pid])
    launchers = [one for one in tree if one.ppid == process.pid]
    jobs = [one.pid for one in tree if one not in launchers]
    for one in launchers:
        os.kill(one.pid, signal.SIGSTOP)
    process.kill()
    for one in launchers:
        os.kill(one.pid, signal.SIGKILL)
    finish(process)
    assert any(linux.read_stat(pid) for pid in jobs)
    resumed = cli("batch.resume", "both")
    assert resumed.returncode == 0, resumed.stderr
    assert "have been ended" in resumed.stderr
    assert resumed.stdout == "done a\ndone b\n"
    assert not any((stat := linux.read_stat(pid)) and stat.state != "Z" for pid in jobs)


@pytest.mark.parametrize("then", [[], ["--then", "true {}"]])
def test_killed_while_a_retry_waits(
    then: list[str], environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli
) -> None:
    """The run can be resumed, as often as one likes, and what had been done is not done again."""
    (tmp_path / "job.sh").write_text('echo "$1" >> ledger; [ "$1" != b ] || [ -e fixed ]')
    ledger = tmp_path / "ledger"
    args = ["--retries", "2", "--backoff", "60", *then, "--run-id", "r", "--", "a", "b", "c"]
    process = start(environment, tmp_path, "batch", "sh job.sh {}", "-j2", *args)

    def waits() -> bool:
        with closing(Journal.open(own_state / "runs/r/journal.db")) as journal:
            return sum(record.outcome is not None for record in journal.records()) == 3

    wait_for(lambda: ledger.exists() and len(ledger.read_text().split()) == 3)
    wait_for(waits)
    process.kill()
    finish(process)
    (tmp_path / "fixed").touch()
    for _ in range(2):
        resumed = cli("batch.resume", "r")
        assert resumed.returncode == 0, resumed.stderr
    assert Counter(ledger.read_text().split()) == {"a": 1, "b": 2, "c": 1}


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_killed_at_the_nth_write_of_the_journal(
    environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli
) -> None:
    """Whichever write to the journal is the last one, it opens and resumes."""
    ledger = Ledger(tmp_path / "ledger")
    script = ledger.script(tmp_path, 0)
    for nth in (1, 2, 3, 4, 6, 9, 13, 18, 25, 33):
        run, names = f"w{nth}", [f"{nth}x{number}" for number in range(30)]
        command = [
            "strace",
            "-qq",
            "-e",
            "trace=pwrite64",
            "-e",
            f"inject=pwrite64:signal=SIGKILL:when={nth}",
            "-o",
            "/dev/null",
            sys.executable,
            "-m",
            "manyhands",
            "batch",
            script,
            "--run-id",
            run,
            "--",
            *names,
        ]
        killed = subprocess.run(
            command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if not (own_state / "runs" / run / "lock").exists():
            continue  # killed before there was a run: nothing had begun
        if "ptrace" in killed.stderr.decode():
            pytest.skip("strace may not trace here")
        resumed = cli("batch.resume", run)
        assert resumed.returncode == 0, (nth, killed, resumed.stderr)
        assert recorded_ok(own_state, run) == set(names), nth
        assert {name for name in ledger.ended() if name in names} == set(names)


def test_any_cut_tail_of_the_journal_opens(tmp_path: Path, cli: Cli, own_state: Path) -> None:
    """As after a loss of power: whatever part of the last writes is there, it opens at a commit, and resumes."""
    assert cli("batch", "true", "--run-id", "cut", "--", *map(str, range(40))).returncode == 0
    journal = own_state / "runs/cut/journal.db"
    db = sqlite3.connect(journal)  # a reader keeps the log from being taken into the file
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("SELECT count(*) FROM began").fetchone()
    db.close()
    live = Journal.open(journal)
    for record in list(live.records())[:10]:
        assert record.outcome is not None
        second = record.outcome.attempt._replace(number=2)
        live.began(second)
        live.ended(record.outcome._replace(attempt=second))
        live.commit()
    log = journal.with_name("journal.db-wal").read_bytes()
    assert len(log) > 10_000
    states = []
    for size in range(0, len(log), 997):
        copy = tmp_path / "copy.db"
        shutil.copy(journal, copy)
        copy.with_name("copy.db-wal").write_bytes(log[:size])
        opened = Journal.open(copy, check=True)
        states.append(sum(1 for _ in opened._db.execute("SELECT 1 FROM ended")))
        opened.close()
        for leftover in tmp_path.glob("copy.db*"):
            leftover.unlink()
    live.close()
    assert states == sorted(states)
    assert states[0] == 40
    assert states[-1] >= 49


@pytest.mark.parametrize("damage", ["header", "middle", "short", "empty", "text"])
def test_a_damaged_journal_is_refused_with_the_way_out(damage: str, cli: Cli, own_state: Path) -> None:
    """Never a green lie: what cannot be trusted is left as it is, and the user is told what to do."""
    assert cli("batch", "true", "--run-id", "bad", "--", *map(str, range(300))).returncode == 0
    path = own_state / "runs/bad/journal.db"
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:100] = bytes(100)
    elif damage == "middle":
        for at in range(4096 + 200, len(data), 4096):
            data[at : at + 600] = b"\xff" * 600
    elif damage == "short":
        data = data[: len(data) // 2]
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(b"not a database at all, but long enough to be taken for one" * 100)
    path.write_bytes(data)
    resumed = cli("batch.resume", "bad")
    assert resumed.returncode == 74, resumed
    assert resumed.stderr.count("\n") == 1
    assert "start the batch again as a new run" in resumed.stderr or "cannot" in resumed.stderr
    assert path.read_bytes() == bytes(data)


def test_a_journal_of_another_version_is_refused(cli: Cli, own_state: Path) -> None:
    """A newer schema is told apart from damage."""
    assert cli("batch", "true", "--run-id", "new", "--", "a").returncode == 0
    db = sqlite3.connect(own_state / "runs/new/journal.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    resumed = cli("batch.resume", "new")
    assert (resumed.returncode, "newer manyhands" in resumed.stderr) == (74, True)


def test_two_coordinators_on_one_run(environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli) -> None:
    """The second is refused with 75 and names the first; the first goes on."""
    template = f"sh -c 'until [ -e {tmp_path}/go ]; do sleep 0.05; done' {{}}"
    first = start(environment, tmp_path, "batch", template, "--run-id", "mine", "--", "1", "2")
    wait_for(lambda: (own_state / "runs/mine/lock").exists() and (own_state / "runs/mine/lock").stat().st_size)
    for command in (
        ["batch.resume", "mine"],
        ["batch", template, "--run-id", "mine", "--", "1"],
        ["batch.remove", "mine", "--yes"],
    ):
        second = cli(*command)
        assert second.returncode == 75, second
        assert f"process {first.pid}" in second.stderr
    (tmp_path / "go").touch()
    assert "2 ok" in finish(first)
    assert first.returncode == 0


def test_inputs_that_changed_before_a_resume(tmp_path: Path, cli: Cli) -> None:
    """Keyed by content: reordered and extended inputs run only what is new; another command is refused."""
    ledger = tmp_path / "ledger"
    (tmp_path / "job.sh").write_text(f'echo "$1" >> {ledger}; [ "$1" != bad ]')
    given = tmp_path / "inputs"
    given.write_text("a\nb\nbad\nb\n")
    assert cli("batch", "sh job.sh {}", "--from", "inputs", "--run-id", "r").returncode == 1
    given.write_text("new\nb\nb\nb\na\nbad\n")
    assert cli("batch.resume", "r").returncode == 1  # bad has failed, and a resume does not do that again
    assert sorted(ledger.read_text().split()) == sorted(["a", "b", "bad", "b", "new", "b"])
    other = cli("batch", "echo {}", "--from", "inputs", "--run-id", "r")
    assert other.returncode == 2
    assert "another command" in other.stderr
    assert cli("batch", "sh job.sh {}", "--run-id", "r", input="new\nnewer\n").returncode == 1
    assert sorted(ledger.read_text().split()).count("newer") == 1
    assert sorted(ledger.read_text().split()).count("new") == 1


def test_retry_does_what_failed_and_nothing_else(tmp_path: Path, cli: Cli) -> None:
    """A done job never changes its state; a failed one that is done again is ok."""
    (tmp_path / "job.sh").write_text('echo "$1" >> ledger; [ "$1" != b ] || [ -e fixed ]')
    assert cli("batch", "sh job.sh {}", "--run-id", "r", "--", "a", "b", "c").returncode == 1
    (tmp_path / "fixed").touch()
    assert cli("batch.resume", "r").returncode == 1
    retried = cli("batch.retry", "r")
    assert retried.returncode == 0
    assert "3 jobs: 3 ok" in retried.stderr
    assert (tmp_path / "ledger").read_text().split() == ["a", "b", "c", "b"] or sorted(
        (tmp_path / "ledger").read_text().split()
    ) == ["a", "b", "b", "c"]
    attempts = [json.loads(line)["attempts"] for line in cli("batch.export", "r").stdout.splitlines()]
    assert attempts == [1, 2, 1]


def test_what_came_through_a_pipe_is_there_after_a_kill(
    environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli
) -> None:
    """Inputs of a stream are kept: a killed run is resumed with all of them, and one that was cut off says so."""
    reading, writing = os.pipe()
    process = start(environment, tmp_path, "batch", "sh -c 'sleep 0.2; echo {}'", "--run-id", "p", "-j2", stdin=reading)
    os.close(reading)
    os.write(writing, b"".join(b"n%d\n" % number for number in range(20)) + b"half-a-li")
    wait_for(
        lambda: (own_state / "runs/p/inputs.part").exists() and len((own_state / "runs/p/inputs.part").read_bytes()) > 60
    )
    time.sleep(0.3)
    process.kill()
    finish(process)
    os.close(writing)
    resumed = cli("batch.resume", "p")
    assert resumed.returncode == 1
    assert "cut off" in resumed.stderr
    assert recorded_ok(own_state, "p") == {f"n{number}" for number in range(20)}
    whole = cli(
        "batch",
        "sh -c 'sleep 0.2; echo {}'",
        "--run-id",
        "p",
        input="".join(f"n{n}\n" for n in range(20)) + "half-a-line\n",
    )
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout == "half-a-line\n"


@pytest.mark.slow
@pytest.mark.sampled
def test_real_files_are_compressed_right_whatever_happens(
    environment: dict[str, str], tmp_path: Path, own_state: Path
) -> None:
    """The batch that the design is about, in small: gzip, killed with -9 five times, every .gz right and recorded once."""
    source = Path("/usr/share/doc")
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()][:300]
    if len(files) < 50:
        files = sorted(Path(os.__file__).parent.glob("*.py"))[:300]
    copied = tmp_path / "files"
    copied.mkdir()
    for number, path in enumerate(files):
        shutil.copy(path, copied / f"{number} {path.name}".removesuffix(".gz"))
    names = {path.name: path.read_bytes() for path in copied.iterdir()}
    args = ["batch", "gzip -9 -k -f {}", "--glob", "files/*[!z]", "-j", "4", "--run-id", "gz"]
    for _ in range(5):
        process = start(environment, tmp_path, *args)
        wait_for(lambda: (own_state / "runs/gz/journal.db").exists())
        time.sleep(0.35)
        process.kill()
        finish(process)
        args = ["batch.resume", "gz"]
    last = start(environment, tmp_path, *args)
    said = finish(last)
    assert last.returncode == 0, said
    wanted = {name for name in names if not name.endswith("z")}
    assert {os.path.basename(name) for name in recorded_ok(own_state, "gz")} == wanted
    for name in wanted:
        assert gzip.decompress((copied / f"{name}.gz").read_bytes()) == names[name]


def test_a_limit_on_the_size_of_files_is_one_line(
    environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli
) -> None:
    """What could not be recorded stops the run with 74 (SIGXFSZ does not end it); without the limit the rest is done, once."""
    ledger = tmp_path / "ledger"
    names = [f"input{number}" for number in range(600)]
    script = 'ulimit -f 40; exec "$0" "$@"'
    command = [
        "bash",
        "-c",
        script,
        sys.executable,
        "-m",
        "manyhands",
        "batch",
        f"sh -c 'echo {{}} >> {ledger}'",
        "-j2",
        "--run-id",
        "r",
        "--",
        *names,
    ]
    limited = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert limited.returncode == 74, limited.stderr
    assert limited.stderr.count("\n") == 1
    done = recorded_ok(own_state, "r")
    assert len(done) < len(names)
    assert cli("batch.resume", "r").returncode == 0
    assert recorded_ok(own_state, "r") == set(names)
    ran = Counter(ledger.read_text().split())
    assert set(ran) == set(names)
    assert all(ran[name] == 1 for name in done)


def test_a_run_whose_folder_is_removed(environment: dict[str, str], tmp_path: Path, own_state: Path) -> None:
    """It ends with 74 and a line that says so, and begins nothing more; SQLite would have gone on."""
    template = f"sh -c 'touch {tmp_path}/began; until [ -e {tmp_path}/go ]; do sleep 0.05; done' {{}}"
    process = start(environment, tmp_path, "batch", template, "-j1", "--run-id", "r", "--", "a", "b", "c")
    wait_for((tmp_path / "began").exists)
    shutil.rmtree(own_state / "runs/r")
    (tmp_path / "go").touch()
    said = finish(process)
    assert (process.returncode, said.count("\n"), "was removed" in said) == (74, 1, True), said


def test_piped_inputs_that_were_lost_are_missed(
    environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli
) -> None:
    """As a loss of power leaves a file that was not durable: the run is refused, never green, and can be given its inputs again."""
    names = [f"n{number}" for number in range(30)]
    text = "".join(f"{name}\n" for name in names)
    template = f"sh -c 'touch {tmp_path}/began; until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo {{}}'"
    process = start(environment, tmp_path, "batch", template, "-j2", "--run-id", "p", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    wait_for(lambda: (own_state / "runs/p/inputs").exists() and len(with_tag("MH_RUN=p")) > 0)
    process.kill()
    finish(process)
    (tmp_path / "go").touch()
    (own_state / "runs/p/inputs").write_bytes(b"")
    resumed = cli("batch.resume", "p")
    assert resumed.returncode == 74, resumed
    assert "are damaged" in resumed.stderr
    again = cli("batch", template, "--run-id", "p", input=text)
    assert again.returncode == 0, again.stderr
    assert recorded_ok(own_state, "p") == set(names)


def test_a_pipe_is_kept_no_further_than_it_may_be(
    environment: dict[str, str], tmp_path: Path, own_state: Path, cli: Cli
) -> None:
    """Beyond the limit it waits for its jobs; all of it is done in the end."""
    text = "".join(f"{number:0500}\n" for number in range(800))
    done = cli(
        "batch", "true {}", "-j4", "--backend", "fake", "--spool-limit", "64k", "--run-id", "p", "--quiet", input=text
    )
    assert done.returncode == 0, done.stderr
    assert len(recorded_ok(own_state, "p")) == 800
    wrong = cli("batch", "true {}", "--spool-limit", "much", input="a\n")
    assert (wrong.returncode, "--spool-limit 'much'" in wrong.stderr) == (2, True)
