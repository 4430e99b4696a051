"""What a killed coordinator has left in the broker: what is read of it, and what is not; with a real Redis, consumers are played."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from manyhands.backends.protocol import Ended
from manyhands.backends.queue import keys, left_behind, messages, reports
from manyhands.backends.queue.carrier import RECALLED, BrokerLostError, Claim
from manyhands.backends.queue.left_behind import LeftBehind
from manyhands.backends.queue.plain_ends import packed_ends
from manyhands.backends.queue.queue_backend import left_behind as of_run
from manyhands.backends.queue.redis_receiver import RedisReceiver
from manyhands.backends.queue.redis_sender import RedisSender
from manyhands.backends.settings import CommandSettings
from manyhands.core.attempt import NOTHING, Attempt, Ending, Job, Output
from manyhands.core.errors import UnavailableError
from manyhands.core.limits import Limits
from manyhands.execution.open_run import OpenRun
from manyhands.execution.recovery import take_over_queue
from manyhands.storage.journal import Journal
from manyhands.storage.runs import Store
from manyhands.work.broker_url import Broker
from manyhands.work.plan import Plan
from manyhands.work.template import Template
from redis_servers import RedisServer

NAME = "r-0123"
TOKEN = "ours"
LEASE = 1.0


def attempt(number: int) -> Attempt:
    return Attempt(Job(number, b"k", (b"x",)), 1, (b"true",))


def end(number: int, *, began: bool = True, **ending: object) -> Ended:
    return Ended(attempt(number), 5.0, Ending(exit=0, **ending), began)  # type: ignore[arg-type]


class Desk:
    """A broker in which the coordinator of ``NAME`` has left an execution, and a consumer called ``busy``."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.sender = RedisSender(server.parsed, NAME, b"{}", TOKEN, LEASE)
        self.sender.open()
        self.consumer = RedisReceiver(server.parsed, "busy", 60.0)

    def left(self) -> list[LeftBehind]:
        """What a resume finds."""
        return [*self.each()]

    def each(self) -> Iterator[LeftBehind]:
        settings = CommandSettings(
            slots=1,
            outputs=self.folder,
            token=TOKEN,
            environment={},
            workdir=self.folder,
            broker=self.server.parsed,
            lease=LEASE,
        )
        return of_run("redis", settings)

    def read(self, *numbers: int) -> dict[int, Ending]:
        """The ends of these attempts, all of them."""
        found = {}
        for one in self.each():
            for page in one.ends([attempt(number) for number in numbers]):
                found.update({ended.attempt.job.number: ended.ending for ended in page})
        return found

    def lives(self) -> None:
        self.consumer.renew(b"{}", [])

    def claim(self, *numbers: int) -> Sequence[Claim]:
        return self.consumer.claim(NAME, [attempt(number).id for number in numbers])

    def say(self, *told: bytes) -> None:
        for one in told:
            assert self.consumer.report(NAME, [one]) is not None

    def ended(self, one: Ended, *, stopped: bool = False) -> None:
        self.say(*reports.pieces("busy", one), reports.ended("busy", one, 5.0, stopped=stopped))

    def in_broker(self) -> list[str]:
        return [name for name in self.server.names() if "consumer" not in name]


@pytest.fixture
def desk(redis_url: RedisServer, tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "outputs"
    folder.mkdir()
    found = Desk(redis_url, folder)
    yield found
    found.sender.close()
    found.consumer.close()


def large(folder: Path, size: int = 3 * messages.PIECE) -> Output:
    """An output in a file, as a consumer has it."""
    path = folder / "consumers-file"
    path.write_bytes(os.urandom(size))
    return Output(b"", str(path), size, 0)


# -- what is read --------------------------------------------------------------------------------------------------------


def test_ends_with_their_outputs(desk: Desk) -> None:
    """Many in one message, one with what it printed, one with a large output; then nothing is left of the execution."""
    output = large(desk.folder)
    wanted = Path(str(output.path)).read_bytes()
    (desk.folder / "3.1.out").write_bytes(b"what the killed coordinator had got")
    desk.claim(1, 2, 3, 4)
    plain = [end(number, stdout=NOTHING, stderr=NOTHING) for number in (1, 2)]
    desk.say(packed_ends("busy", plain, 5.0), b"{}", b"no message", b'{"type":"ends","job":[5]}')
    desk.ended(end(3, stdout=output))
    desk.ended(end(4, stdout=Output(b"four", None, 4, 0)))
    desk.ended(end(4, stdout=Output(b"a late copy", None, 11, 0)))
    desk.ended(end(9, stdout=Output(b"of what is recorded", None, 19, 0)))
    found = desk.read(1, 2, 3, 4, 5)
    assert sorted(found) == [1, 2, 3, 4]
    assert {one.host for one in found.values()} == {"busy"}
    assert Path(str(found[3].stdout.path)).read_bytes() == wanted
    assert found[4].stdout.data == b"four"
    assert desk.in_broker() == []


def test_what_has_to_be_done_again(desk: Desk) -> None:
    """What was stopped, what never began, and what lost a part of its output."""
    output = large(desk.folder)
    desk.claim(1, 2, 3)
    desk.ended(end(1), stopped=True)
    desk.ended(end(2, began=False))
    desk.say(*[*reports.pieces("busy", end(3, stdout=output))][1:])
    desk.say(reports.ended("busy", end(3, stdout=output), 5.0, stopped=False))
    assert desk.read(1, 2, 3) == {}
    assert not [*desk.folder.glob("3.1.*")]


def test_a_page_stays_until_the_next_is_asked_for(desk: Desk) -> None:
    """Who is killed before it has recorded a page finds it again, and not what it has recorded."""
    desk.claim(1, 2)
    desk.ended(end(1))
    (first,) = desk.left()
    pages = first.ends([attempt(1), attempt(2)])
    assert [one.attempt.job.number for one in next(pages)] == [1]
    pages.close()
    assert sorted(desk.read(1, 2)) == [1]
    assert desk.in_broker() == []


@pytest.fixture
def resumed(desk: Desk, tmp_path: Path) -> Iterator[tuple[OpenRun, Journal]]:
    """The run, taken over, and its journal, in which the first attempts of 1 and 2 have begun."""
    plan = Plan(
        work=Template.parse("true"),
        source={"kind": "args", "values": []},
        workdir="/",
        backend="redis",
        broker=Broker(desk.server.parsed, LEASE),
        limits=Limits(jobs=2),
    )
    run, held = Store(tmp_path / "state").create(plan.to_json() | {"token": TOKEN}, "r")
    with closing(run.journal()) as journal, closing(held):
        journal.began(attempt(1))
        journal.began(attempt(2))
        journal.commit()
        yield OpenRun(run=run, held=held, plan=plan, scope="rest"), journal


def test_a_broker_that_is_lost_in_the_middle(
    desk: Desk, resumed: tuple[OpenRun, Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume says so in one line; what it has not recorded is there at the next one."""
    opened, journal = resumed
    desk.claim(1)
    desk.ended(end(1))
    monkeypatch.setattr(RedisSender, "forget", lost)
    with pytest.raises(UnavailableError, match="the broker does not answer any more: it is gone"):
        [*take_over_queue(opened, journal)]
    monkeypatch.undo()
    assert [*take_over_queue(opened, journal)] == []
    assert [job.number for job, _ in journal.open_attempts()] == [2]


def test_two_executions_are_left(desk: Desk, resumed: tuple[OpenRun, Journal]) -> None:
    """A broker came back with an older state: what is recorded of the first keeps its output when the second is looked at."""
    opened, journal = resumed
    another = RedisSender(desk.server.parsed, f"{NAME}-more", b"{}", TOKEN, LEASE)
    another.open()
    another.close()
    desk.claim(1)
    desk.ended(end(1, stdout=large(desk.folder)))
    assert [*take_over_queue(opened, journal)] == []
    record = journal.record(1)
    assert record and record.outcome
    assert len(record.outcome.stdout.read()) == 3 * messages.PIECE
    assert desk.in_broker() == []


def lost(*_: object) -> None:
    raise BrokerLostError("it is gone")


def test_the_lease_of_the_batch_is_over(desk: Desk) -> None:
    """All that has expired is gone; the reports are kept for days, with what tells whose they are."""
    desk.claim(1)
    desk.ended(end(1))
    with desk.server.client() as redis:
        assert 6 * 86_400 < redis.ttl(keys.REDIS.reports(NAME)) <= 7 * 86_400
        assert 6 * 86_400 < redis.ttl(keys.REDIS.origin(NAME)) <= 7 * 86_400
        redis.delete(keys.REDIS.run(NAME), keys.REDIS.attempts(NAME), keys.REDIS.claims(NAME))
    assert sorted(desk.read(1, 2)) == [1]
    assert desk.in_broker() == []


def test_all_of_it_expires(desk: Desk) -> None:
    """Also if the coordinator is killed at once, before it has renewed its lease, and has had a first attempt claimed."""
    desk.claim(1)
    with desk.server.client() as redis:
        assert all(redis.pttl(name) > 0 for name in keys.REDIS.all_of(NAME))


def test_executions_of_other_runs_are_left_alone(desk: Desk) -> None:
    """Only what has the token of this run is of this run."""
    other = RedisSender(desk.server.parsed, "r-4567", b"{}", "another", LEASE)
    other.open()
    desk.read()
    assert [keys.REDIS.run("r-4567") in desk.in_broker(), keys.REDIS.run(NAME) in desk.in_broker()] == [True, False]
    other.finish()
    other.close()


# -- what still runs -----------------------------------------------------------------------------------------------------


def test_nobody_begins_what_waits(desk: Desk) -> None:
    """Neither what nobody has claimed yet, nor anything once the lease is over."""
    assert desk.claim(1) == [Claim.NEW]
    (left,) = desk.left()
    pages = left.ends([attempt(1), attempt(2)])
    next(pages)
    assert desk.sender.claim([attempt(2).id]) == [RECALLED]
    assert desk.claim(2, 3) == [Claim.OTHERS, Claim.OTHERS]
    pages.close()


def test_a_consumer_is_waited_for_until_it_has_closed(desk: Desk) -> None:
    """What it says before that counts; then nothing is waited for."""
    desk.lives()
    desk.claim(1)
    (left,) = desk.left()
    pages = left.ends([attempt(1)])
    assert [next(pages), next(pages)] == [[], []]
    (order,) = desk.consumer.listen(1.0)
    assert messages.unpacked(order, "close")["run"] == NAME
    desk.ended(end(1))
    desk.say(reports.closed("busy"))
    assert [one.attempt.job.number for page in pages for one in page] == [1]
    assert left.silent == []
    assert desk.in_broker() == []


@pytest.mark.parametrize("alive", [True, False])
def test_a_consumer_that_says_nothing(desk: Desk, alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is dead is not waited for; one that lives is, for some seconds, and is named."""
    if alive:
        monkeypatch.setattr(left_behind, "PATIENCE", 0.3)
        desk.lives()
    desk.claim(1)
    (left,) = desk.left()
    assert not any(left.ends([attempt(1)]))
    assert left.silent == (["busy"] if alive else [])
    assert desk.in_broker() == []
