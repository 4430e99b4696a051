"""Commands on several hosts: who gets the next attempt, and what becomes of the attempts of a host that is lost."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.test_command_backends import Bench
from conftest import wait_for, with_tag
from manyhands.backends.protocol import Ended, Noted, Started
from manyhands.backends.site.clock import FarClock
from manyhands.backends.site.host import HostSpec
from manyhands.backends.sites import Sites, SiteSettings
from manyhands.core.errors import ManyhandsError
from manyhands.core.job import Attempt, Job
from manyhands.posix import linux

TOKEN = f"sites{os.getpid()}"
pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("nothing_left")]


def here(name: str, slots: int | None = 2, script: str = 'exec "$@"') -> HostSpec:
    """A host on a pipe; ``script`` is what its shell does."""
    return HostSpec(name, lambda command: ["sh", "-c", script, "sh", *command], slots, sys.executable)


class Hosts(Bench):
    """A bench over several hosts."""

    backend: Sites

    def notes(self) -> list[str]:
        return [one.text for one in self.reports if isinstance(one, Noted)]

    def slots_of(self, attempts: list[Attempt]) -> set[int]:
        return {self.start_of(one).slot for one in attempts}

    def far_ends(self) -> list[int]:
        """The pids of the far ends, host by host."""
        return [host.link.process.pid for host in self.backend._hosts]


Make = Callable[..., Hosts]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes backends over the given hosts; closes them. A far end that is killed while it begins leaves an empty folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made: list[Hosts] = []

    def hosts(*specs: HostSpec, **settings: Any) -> Hosts:
        given = {
            "slots": 1 << 20,
            "outputs": tmp_path,
            "token": TOKEN,
            "environment": {},
            "workdir": tmp_path,
            "grace": 0.3,
            **settings,
        }
        made.append(Hosts(Sites(SiteSettings(hosts=specs, **given))))
        return made[-1]

    yield hosts
    for one in made:
        one.backend.close()


def test_each_attempt_has_its_host(make: Make) -> None:
    """From its beginning to its end, also if it is lost; one that was never given to a host has none."""
    bench = make(here("one", 1), here("two", 1))
    running = [bench.sh("sleep 60") for _ in range(2)]
    assert {bench.start_of(one).host for one in running} == {"one", "two"}
    waiting = bench.sh("true")
    bench.backend.recall([waiting])
    assert bench.end_of(waiting).ending.host is None
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    lost = next(one for one in running if bench.start_of(one).host == "one")
    assert bench.end_of(lost).ending.host == "one"
    bench.backend.stop(running)
    assert {bench.end_of(one).ending.host for one in running} == {"one", "two"}


def test_slots_are_numbered_over_all_hosts(make: Make) -> None:
    """Each host has its own; all are used at once."""
    bench = make(here("one", 2), here("two", 3))
    assert bench.backend.capacity == 5
    running = [bench.sh("sleep 60") for _ in range(5)]
    assert bench.slots_of(running) == {1, 2, 3, 4, 5}


def test_a_host_has_as_many_slots_as_usable_cores(make: Make) -> None:
    """If nobody says how many."""
    assert make(here("one", None)).backend.capacity == len(os.sched_getaffinity(0))


def test_fewer_slots_than_the_hosts_have(make: Make) -> None:
    """The number that is wanted holds over all hosts together."""
    bench = make(here("one", 2), here("two", 2), slots=3)
    running = [bench.sh("sleep 60") for _ in range(6)]
    bench.until(lambda: sum(isinstance(one, Started) for one in bench.reports) == 3)
    bench.reports += bench.backend.reports(0.3)
    assert sum(isinstance(one, Started) for one in bench.reports) == 3
    assert len(running) == 6


def test_whoever_is_free_gets_the_next(make: Make) -> None:
    """A long job on one host does not hold up the others."""
    bench = make(here("one", 1), here("two", 1))
    long = bench.sh("sleep 60")
    slot = bench.start_of(long).slot
    others = [bench.sh("true") for _ in range(20)]
    assert {bench.end_of(one).ending.slot for one in others} == {3 - slot}


def test_a_host_that_cannot_be_reached_costs_only_itself(make: Make) -> None:
    """One line says why; the others do the work."""
    bench = make(here("gone", 2, "echo 'No route to host' >&2; exit 255"), here("there", 2))
    assert [bench.run("true").ending.exit for _ in range(4)] == [0] * 4
    assert bench.notes() == ["gone is set aside: No route to host"]


def test_no_host_can_be_reached(make: Make) -> None:
    """There is nothing to do it: an error that names each."""
    with pytest.raises(ManyhandsError, match=r"no host can be used: a is set aside: .*; b is set aside: ") as caught:
        make(here("a", 1, "exit 1"), here("b", 1, "exit 2"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_host_that_never_answers(make: Make) -> None:
    """It is not waited for longer than the patience."""
    bench = make(here("silent", 1, "sleep 60"), here("there", 1), patience=20.0)
    assert bench.run("true").ending.exit == 0
    assert bench.notes() == ["silent is set aside: it did not answer within 20 s"]


def test_a_lost_host_loses_its_attempts_and_is_connected_again(make: Make) -> None:
    """Killed with -9: nothing of it lives on, its attempts are lost with the reason, and later ones run there again."""
    bench = make(here("one", 2))
    running = [bench.sh("sleep 60 & sleep 60") for _ in range(2)]
    for one in running:
        bench.start_of(one)
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    ends = [bench.end_of(one) for one in running]
    assert all(end.began and end.ending.exit is None and end.ending.signal is None for end in ends)
    assert (ends[0].ending.error or "").startswith("one was lost: ")
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}.1.1") and not with_tag(f"MH_TAG={TOKEN}.2.1"))
    assert bench.run("echo", "again").ending.stdout.data == b"again\n"
    assert any(text.endswith("it is connected again") for text in bench.notes())


def test_the_others_go_on_when_one_is_lost(make: Make) -> None:
    """Only what ran on it is lost."""
    bench = make(here("one", 1), here("two", 1))
    running = [bench.sh("sleep 2; echo well"), bench.sh("sleep 2; echo well")]
    slots = [bench.start_of(one).slot for one in running]
    os.kill(bench.far_ends()[slots[0] - 1], signal.SIGKILL)
    assert bench.end_of(running[0]).ending.exit is None
    assert bench.end_of(running[1]).ending.stdout.data == b"well\n"


def test_a_host_that_is_lost_again_and_again_is_set_aside(make: Make, tmp_path: Path) -> None:
    """After it has connected once and then never again: its queue is done by the others, or, without any, an error ends it."""
    script = f'test -e {tmp_path}/down && exit 9; exec "$@"'
    bench = make(here("one", 1, script), here("two", 1))
    (tmp_path / "down").touch()
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    bench.until(lambda: any("one is set aside" in text for text in bench.notes()))
    assert bench.run("true").ending.exit == 0
    alone = make(here("one", 1, script.replace("down", "off")))
    (tmp_path / "off").touch()
    alone.start_of(alone.sh("sleep 60"))
    alone.sh("true")
    os.kill(alone.far_ends()[0], signal.SIGKILL)
    with pytest.raises(ManyhandsError, match="no host is left: one is set aside"):
        alone.until(lambda: False)


def test_whoever_is_left_uses_all_slots_that_are_wanted(make: Make, tmp_path: Path) -> None:
    """With one slot on two hosts, the loss of either holds up nothing."""
    script = f'test -e {tmp_path}/down-NAME && exit 9; exec "$@"'
    bench = make(*(here(name, 2, script.replace("NAME", name)) for name in ("one", "two")), slots=1)
    assert bench.run("true").ending.exit == 0
    gone = next(host for host in bench.backend._hosts if host.name == "two")
    (tmp_path / "down-two").touch()
    os.kill(gone.link.process.pid, signal.SIGKILL)
    bench.until(lambda: any("two is set aside" in text for text in bench.notes()))
    assert [bench.run("true").ending.exit for _ in range(3)] == [0] * 3


def test_no_host_is_left_for_what_comes_later(make: Make, tmp_path: Path) -> None:
    """Nothing waited when the last was lost: what ran is lost, and what is given afterwards does not wait for ever."""
    bench = make(here("one", 1, f'test -e {tmp_path}/down && exit 9; exec "$@"'))
    running = bench.sh("sleep 60")
    bench.start_of(running)
    (tmp_path / "down").touch()
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    assert bench.end_of(running).ending.exit is None
    bench.until(lambda: any("one is set aside" in text for text in bench.notes()))
    bench.sh("true")
    with pytest.raises(ManyhandsError, match="no host is left: one is set aside"):
        bench.until(lambda: False)


def test_a_host_that_hangs_when_it_is_connected_again(make: Make, tmp_path: Path) -> None:
    """It is waited for as long as the first time, and not for ever."""
    bench = make(here("one", 1, f'test -e {tmp_path}/hung && exec sleep 60; exec "$@"'), patience=3.0)
    (tmp_path / "hung").touch()
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    bench.until(lambda: any("one is set aside: it did not answer within 3 s" in text for text in bench.notes()))


def test_a_host_that_cannot_be_connected_now_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shortage of processes here is no end of the batch."""
    bench = make(here("one", 1))
    bench.run("true")
    real, calls = subprocess.Popen, iter(range(9))

    def short(*args: Any, **more: Any) -> Any:
        if next(calls) == 0:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable", "sh")
        return real(*args, **more)

    monkeypatch.setattr(subprocess, "Popen", short)
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    bench.until(lambda: any(text.endswith("it is connected again") for text in bench.notes()))
    assert bench.run("echo", "well").ending.stdout.data == b"well\n"


def test_a_silent_host_is_lost_after_its_lease(make: Make) -> None:
    """A stopped far end answers nobody: its attempts are lost here; when it goes on, it ends them there."""
    bench = make(here("one", 1), lease=1.0)
    running = bench.sh("sleep 600")
    bench.start_of(running)
    far = bench.far_ends()[0]
    os.kill(far, signal.SIGSTOP)
    assert "did not answer" in (bench.end_of(running).ending.error or "")
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}.1.1"))
    assert bench.run("true").ending.exit == 0


def test_a_far_end_that_hears_nothing_ends_its_attempts(make: Make) -> None:
    """Where no packet gets through, nothing tells it that we are gone: after its lease it ends what it runs, and itself."""
    bench = make(here("one", 1), lease=1.0)
    bench.start_of(bench.sh("sleep 600"))
    far = bench.far_ends()[0]
    wait_for(lambda: not with_tag(f"MH_TAG={TOKEN}.1.1"))  # nobody calls `reports`, so nobody pings
    wait_for(lambda: (stat := linux.read_stat(far)) is None or stat.state == "Z")


def test_a_pause_is_no_silence(make: Make) -> None:
    """While all is suspended, on purpose, no lease ends it."""
    bench = make(here("one", 1), lease=0.5)
    running = bench.sh("sleep 0.2; echo well")
    bench.start_of(running)
    bench.backend.pause(True)
    time.sleep(2)  # longer than the lease; nothing is pinged
    bench.backend.pause(False)
    assert bench.end_of(running).ending.stdout.data == b"well\n"


def test_a_large_output_does_not_hold_up_others(make: Make) -> None:
    """It comes in pieces, and is whole; others end, and are stopped, meanwhile."""
    bench = make(here("one", 2))
    large = bench.sh("head -c 50000000 /dev/zero; echo end")
    assert [bench.sh("true") for _ in range(5)]
    bench.until(lambda: sum(isinstance(one, Ended) for one in bench.reports) == 6)
    output = bench.end_of(large).ending.stdout
    assert (output.size, output.read()[-5:]) == (50_000_004, b"\0end\n")
    assert output.path is not None
    assert os.stat(output.path).st_mode & 0o777 == 0o600


def test_output_caps_apply_at_the_source(make: Make) -> None:
    """What is cut does not travel."""
    bench = make(here("one", 1), output_cap=100_000)
    output = bench.end_of(bench.sh("head -c 1000000 /dev/zero")).ending.stdout
    assert (output.size, output.dropped, len(output.read())) == (1_000_000, 900_000, 100_000)


def test_the_environment_is_the_hosts_own(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is here does not travel; only what is given."""
    host = HostSpec("one", lambda command: ["env", "-i", "HOME=/", "PATH=" + os.defpath, *command], 1, sys.executable)
    bench = make(host, environment={b"GIVEN": b"\xff", b"MH_RUN": b"r"})
    said = bench.run("env").ending.stdout.data.splitlines()
    assert {b"GIVEN=\xff", b"MH_RUN=r", b"MH_SLOT=1", b"HOME=/"} <= set(said)
    assert not any(line.startswith((b"XDG_STATE_HOME", b"PYTHON")) for line in said)


def test_nothing_is_left_on_the_host(make: Make, tmp_path: Path) -> None:
    """No file, whether it ends in good order, is cut off or is killed by -9."""
    place = tmp_path / "tmp"
    place.mkdir()
    for cut in (False, True):
        bench = make(here("one", 1, f'TMPDIR={place} exec "$@"'))
        bench.run("head", "-c", "100000", "/dev/zero")
        assert len(list(place.iterdir())) == 1
        if cut:
            bench.start_of(bench.sh("sleep 60"))
            bench.backend._hosts[0].link.abandon()
            wait_for(lambda: not list(place.iterdir()))
            bench.backend._hosts[0].link.process.returncode = None
            bench.backend._hosts[0].link.process.wait()
        else:
            bench.backend.close()
            assert not list(place.iterdir())
    bench = make(here("one", 1, f'TMPDIR={place} exec "$@"'))
    bench.run("head", "-c", "100000", "/dev/zero")
    (folder,) = place.iterdir()
    bench.start_of(bench.sh("sleep 60"))
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    wait_for(lambda: not folder.exists())


# -- each attempt on its own host ----------------------------------------------------------------------------------------


def of(host: str, number: int, *argv: str, tries: int = 1) -> Attempt:
    """An attempt that belongs to ``host``."""
    return Attempt(Job(number, b"", (b"input", os.fsencode(host))), tries, tuple(map(os.fsencode, argv)))


def test_an_attempt_goes_to_its_own_host_only(make: Make) -> None:
    """However busy that is, and however free the others are."""
    bench = make(here("one", 1), here("two", 4), on_each=True)
    attempts = [of(("one", "two")[number % 2], number, "sh", "-c", "echo $MH_HOST") for number in range(1, 41)]
    for attempt in attempts:
        bench.backend.start(attempt)
    for attempt in attempts:
        ending = bench.end_of(attempt).ending
        assert (ending.stdout.data, ending.host) == (attempt.job.values[1] + b"\n", os.fsdecode(attempt.job.values[1]))


def test_a_host_that_cannot_be_reached_fails_what_belongs_to_it(make: Make) -> None:
    """With the reason and the status of ssh; nothing waits, and the others do theirs. It is no warning besides."""
    bench = make(here("gone", 2, "echo 'No route to host' >&2; exit 255"), here("there", 2), on_each=True)
    bench.backend.start(first := of("gone", 1, "true"))
    bench.backend.start(second := of("there", 2, "true"))
    end = bench.end_of(first)
    assert (end.ending.exit, end.ending.host) == (255, "gone")
    assert end.ending.error == "the host cannot be used: No route to host"
    assert bench.end_of(second).ending.exit == 0
    assert bench.notes() == []


def test_no_host_at_all(make: Make) -> None:
    """Each attempt fails; the backend has room for them."""
    bench = make(here("a", 1, "exit 1"), here("b", 1, "exit 1"), on_each=True)
    assert bench.backend.capacity == 1
    for number, name in enumerate(("a", "b", "unheard-of")):
        bench.backend.start(one := of(name, number, "true"))
        assert bench.end_of(one).ending.exit == 255


def test_a_retry_has_its_host_connected_again(make: Make, tmp_path: Path) -> None:
    """Where it was down before, it may be up now; three times in vain are enough."""
    script = f'test -e {tmp_path}/up || {{ echo x >>{tmp_path}/tried; exit 9; }}; exec "$@"'
    bench = make(here("one", 1, script), here("two", 1), on_each=True)
    for tries in (1, 1, 2, 2, 3, 4):
        bench.backend.start(one := of("one", 10 + tries, "true", tries=tries))
        assert bench.end_of(one).ending.exit == 255
        bench.reports.clear()
    assert (tmp_path / "tried").read_text() == "x\n" * 3
    again = make(here("one", 1, script.replace("/up", "/up2")), here("two", 1), on_each=True)
    (tmp_path / "up2").touch()
    again.backend.start(first := of("one", 1, "true"))
    assert again.end_of(first).ending.exit == 255
    again.backend.start(second := of("one", 2, "true", tries=2))
    assert (again.end_of(second).ending.exit, again.end_of(second).ending.slot) == (0, 2)


def test_a_host_that_is_lost_for_good_fails_what_waits_for_it(make: Make, tmp_path: Path) -> None:
    """What ran is lost; what waits fails when the host is set aside, and none of it goes to another."""
    bench = make(here("one", 1, f'test -e {tmp_path}/down && exit 9; exec "$@"'), here("two", 1), on_each=True)
    bench.backend.start(running := of("one", 1, "sleep", "60"))
    bench.start_of(running)
    for number in (2, 3):
        bench.backend.start(of("one", number, "true"))
    (tmp_path / "down").touch()
    os.kill(bench.far_ends()[0], signal.SIGKILL)
    assert (bench.end_of(running).ending.exit, bench.end_of(running).ending.host) == (None, "one")
    for number in (2, 3):
        assert bench.end_of(of("one", number, "true")).ending.exit == 255


def test_many_hosts_at_the_width_of_three(make: Make) -> None:
    """Each has its own, and never more at once."""
    bench = make(*(here(f"h{number}", 1) for number in range(15)), on_each=True, slots=3)
    attempts = [of(f"h{number}", number, "sleep", "0.05") for number in range(15)]
    for attempt in attempts:
        bench.backend.start(attempt)
    bench.until(lambda: sum(isinstance(one, Ended) for one in bench.reports) == 15)
    running = most = 0
    for report in bench.reports:
        running += isinstance(report, Started) - isinstance(report, Ended)
        most = max(most, running)
    assert most == 3
    assert {bench.end_of(one).ending.host for one in attempts} == {f"h{number}" for number in range(15)}


def test_an_end_before_a_stop_stays_before_it(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stop was too late, and the job has ended by itself; its end is on the way."""
    monkeypatch.setattr(FarClock, "here", lambda _, at: at - 5)
    bench = make(here("one"))
    go = tmp_path / "go"
    attempt = bench.sh(f"until [ -e {go} ]; do sleep 0.01; done; exit 3")
    bench.start_of(attempt)
    go.touch()
    poll = select.poll()
    for descriptor in bench.backend._hosts[0].link.watched():
        poll.register(descriptor, select.POLLIN)
    assert poll.poll()
    asked = time.monotonic()
    bench.backend.stop([attempt])
    assert bench.end_of(attempt).at < asked
