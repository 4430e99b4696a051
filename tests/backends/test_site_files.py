"""Files that travel with the attempts of a site: there before, back after, and no burden to others. On pipes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from backends.test_sites import Hosts, Make, here, make
from conftest import wait_for
from manyhands.backends.protocol import Ended, Started
from manyhands.backends.site.near_files import FileMoves
from manyhands.core.job import Attempt, Job
from manyhands.posix import linux

__all__ = ["make"]
pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The folder here; that of the jobs is ``theirs`` beside it."""
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    return tmp_path / "ours"


def moves(ours: Path, *, send: str = "", fetch: str = "", cleanup: bool = False) -> FileMoves:
    """The same paths for all jobs but for ``N``, which is the job's number; several are separated by blanks."""

    def paths(texts: str, job: Job) -> list[bytes]:
        return [text.replace("N", str(job.number)).encode() for text in texts.split()]

    return FileMoves(
        folder=bytes(ours), send=lambda job: paths(send, job), fetch=lambda job: paths(fetch, job), cleanup=cleanup
    )


def job(bench: Hosts, number: int, script: str) -> Attempt:
    """An attempt of a job with this number."""
    attempt = Attempt(Job(number, b"", (b"",)), 1, (b"sh", b"-c", script.encode()))
    bench.backend.start(attempt)
    return attempt


def test_there_before_and_back_after(make: Make, ours: Path) -> None:
    """Into folders that are made; what was fetched is here before the end is reported."""
    theirs = ours.parent / "theirs"
    (ours / "in").mkdir()
    for number in range(1, 9):
        (ours / "in" / f"{number}").write_bytes(b"%d" % number * 100_000)
    bench = make(here("one"), here("two"), workdir=theirs, moves=moves(ours, send="in/N", fetch="out/N err/N"))
    running = [
        job(bench, number, f"mkdir -p out err; tr 1-9 a-i <in/{number} >out/{number}; echo >err/{number}")
        for number in range(1, 9)
    ]
    for number, one in enumerate(running, 1):
        assert bench.end_of(one).ending.exit == 0
        assert (ours / "out" / f"{number}").read_bytes() == b"%c" % (96 + number) * 100_000
        assert (ours / "err" / f"{number}").read_text() == "\n"
    assert {one.name for one in (theirs / "in").iterdir()} == {str(number) for number in range(1, 9)}


def test_cleanup(make: Make, ours: Path) -> None:
    """Nothing of it stays there, however the job ends; a file of several jobs stays as long as one of them needs it."""
    theirs = ours.parent / "theirs"
    (ours / "shared").write_text("x")
    bench = make(here("one", 3), workdir=theirs, moves=moves(ours, send="shared", fetch="N.out", cleanup=True))
    long = job(bench, 1, "while [ ! -e go ]; do sleep 0.05; done; cat shared >1.out; rm go")
    bench.start_of(long)
    assert bench.end_of(job(bench, 2, "cat shared >2.out")).ending.exit == 0
    assert bench.end_of(job(bench, 3, "cat shared >3.out; exit 3")).ending.exit == 3
    wait_for(lambda: [one.name for one in theirs.iterdir()] == ["shared"])
    (theirs / "go").touch()
    assert bench.end_of(long).ending.exit == 0
    wait_for(lambda: not [*theirs.iterdir()])
    assert sorted(one.name for one in ours.iterdir()) == ["1.out", "2.out", "shared"]


def test_what_cannot_be_sent_or_fetched_fails_its_job(make: Make, ours: Path) -> None:
    """In one line, and no other; a job that has failed by itself is not asked for its files."""
    theirs = ours.parent / "theirs"
    for number in (2, 3, 4, 5):
        (ours / f"{number}").touch()
    (theirs / "5").mkdir()
    (ours / "4.out").mkdir()
    bench = make(here("one", 2), workdir=theirs, moves=moves(ours, send="N", fetch="N.out"))
    scripts = {1: "touch ran; touch 1.out", 2: "true", 3: "exit 3", 4: "touch 4.out", 5: "touch ran; touch 5.out"}
    running = {number: job(bench, number, script) for number, script in scripts.items()}
    found = {number: (bench.end_of(one).ending.exit, bench.end_of(one).ending.error) for number, one in running.items()}
    assert found == {
        1: (74, "cannot send a file: 1: No such file or directory"),
        2: (74, "cannot fetch a file: 2.out: No such file or directory"),
        3: (3, None),
        4: (74, "cannot fetch a file: 4.out: Is a directory"),
        5: (74, "cannot send a file: 5: Is a directory"),
    }
    assert not (theirs / "ran").exists()
    assert not [one for folder in (ours, theirs) for one in folder.iterdir() if one.name.endswith(".part")]


def test_a_large_file_fills_no_memory_and_holds_up_nobody(make: Make, ours: Path) -> None:
    """400 MB there and back; small ones with files of their own end meanwhile."""
    size = 400_000_000
    with (ours / "1").open("wb") as file:
        file.truncate(size)
    for number in range(2, 30):
        (ours / f"{number}").touch()
    bench = make(here("one", 4), workdir=ours.parent / "theirs", moves=moves(ours, send="N", fetch="N.out"))
    before = _memory(os.getpid())
    large = job(bench, 1, "mv 1 1.out")
    small = [job(bench, number, f"mv {number} {number}.out") for number in range(2, 30)]
    most: dict[int, int] = {}
    deadline = time.monotonic() + 120
    while not any(isinstance(one, Ended) and one.attempt == large for one in bench.reports):
        assert time.monotonic() < deadline
        bench.reports += bench.backend.reports(0.05)
        for pid in (os.getpid(), *bench.far_ends()):
            most[pid] = max(most.get(pid, 0), _memory(pid))
    ended = [one.attempt.id for one in bench.reports if isinstance(one, Ended)]
    assert ended[-1] == large.id
    assert len(ended) == len(small) + 1
    assert all(bench.end_of(one).ending.exit == 0 for one in (large, *small))
    assert (ours / "1.out").stat().st_size == size
    assert most[os.getpid()] - before < 60 << 20
    assert all(peak < 100 << 20 for pid, peak in most.items() if pid != os.getpid())


def _memory(pid: int) -> int:
    """Bytes that are resident."""
    stat = linux.read_stat(pid)
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") if stat else 0


def sparse(path: Path, size: int = 2_000_000_000) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def test_a_stop_while_it_is_sent(make: Make, ours: Path) -> None:
    """The job never begins, and half a file is not left there."""
    sparse(ours / "1")
    theirs = ours.parent / "theirs"
    bench = make(here("one", 1), workdir=theirs, moves=moves(ours, send="N"))
    one = job(bench, 1, "true")
    bench.until(lambda: [*theirs.iterdir()])
    bench.backend.stop([one])
    assert not bench.end_of(one).began
    bench.until(lambda: not [*theirs.iterdir()])


def test_a_stop_while_it_is_fetched(make: Make, ours: Path) -> None:
    """Its end is that of a job that was stopped; half a file is not left here."""
    bench = make(here("one", 1), workdir=ours.parent / "theirs", moves=moves(ours, fetch="N.out"))
    one = job(bench, 1, "truncate -s 2G 1.out")
    bench.until(lambda: [*ours.iterdir()])
    before = time.monotonic()
    bench.backend.stop([one])
    end = bench.end_of(one)
    assert end.at >= before
    assert end.ending.error == "cannot fetch a file: the job was stopped before its files were fetched"
    assert not [*ours.iterdir()]


def test_a_host_that_is_lost_while_it_is_sent_costs_nothing(make: Make, ours: Path) -> None:
    """The job has not begun: it begins elsewhere, and is not lost."""
    sparse(ours / "1", 300_000_000)
    bench = make(
        here("one", 1), here("two", 1), workdir=ours.parent / "theirs", moves=moves(ours, send="N", cleanup=True)
    )
    one = job(bench, 1, "wc -c <1")
    bench.until(lambda: [*(ours.parent / "theirs").iterdir()])
    sender = next(host for host in bench.backend._hosts if host.flying)
    os.kill(sender.link.process.pid, signal.SIGKILL)
    assert bench.end_of(one).ending.stdout.data.strip() == b"300000000"
    assert sum(isinstance(one, Started) for one in bench.reports) == 1


def test_a_host_that_is_lost_while_it_is_fetched(make: Make, ours: Path) -> None:
    """The attempt is lost, and half a file is not left here."""
    bench = make(here("one", 1), workdir=ours.parent / "theirs", moves=moves(ours, fetch="N.out"))
    one = job(bench, 1, "truncate -s 2G 1.out")
    bench.until(lambda: [*ours.iterdir()])
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    assert bench.end_of(one).ending.exit is None
    assert not [*ours.iterdir()]


def test_a_connection_that_ends_leaves_nothing_there(make: Make, ours: Path) -> None:
    """With cleanup: neither what was sent nor what was half sent."""
    theirs = ours.parent / "theirs"
    (ours / "1").write_text("x")
    sparse(ours / "2")
    bench = make(here("one", 2), workdir=theirs, moves=moves(ours, send="N", cleanup=True))
    bench.start_of(job(bench, 1, "sleep 60"))
    job(bench, 2, "true")
    bench.until(lambda: len([*theirs.iterdir()]) == 2)
    bench.backend.close()
    wait_for(lambda: not [*theirs.iterdir()])
