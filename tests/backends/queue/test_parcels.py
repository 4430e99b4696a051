"""Several attempts in one parcel, through a real Redis: counted, taken back, removed and put back one by one; none lost with its parcel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.queue.test_redis_queue import LEASE, Consume, Make, Queue, consume, make
from manyhands.backends.protocol import Ended
from manyhands.backends.queue import keys
from manyhands.backends.queue.attempt_messages import ids_of
from manyhands.backends.queue.carrier import Claim
from manyhands.backends.queue.inspection import Inspection
from manyhands.backends.queue.redis_receiver import RedisReceiver
from manyhands.core.attempt import Attempt
from manyhands.work.broker_url import Broker
from redis_servers import RedisServer

__all__ = ["consume", "make"]
pytestmark = [pytest.mark.sampled, pytest.mark.usefixtures("nothing_left")]


def short(bench: Queue) -> Queue:
    """A coordinator that has seen very short attempts."""
    for _ in range(200):
        bench.backend._sizes.took(0.0)
    return bench


def entries(server: RedisServer, bench: Queue) -> int:
    with server.client() as client:
        return int(client.xlen(keys.REDIS.attempts(bench.run_name)))


def waiting(server: RedisServer) -> list[int]:
    with Inspection(Broker(server.parsed, LEASE)) as inspection:
        return [one.waiting for one in inspection.runs([])]


@pytest.fixture
def waits(redis_url: RedisServer, make: Make) -> Callable[[int], Queue]:
    """Makes a coordinator whose short attempts wait in parcels."""

    def bench(count: int) -> Queue:
        found = short(make(redis_url))
        for _ in range(count):
            found.sh("exit 0")
        found.until(lambda: entries(redis_url, found))
        return found

    return bench


def test_attempts_in_parcels_are_counted(redis_url: RedisServer, waits: Callable[[int], Queue]) -> None:
    """Each of them, not the parcels."""
    bench = waits(30)
    assert entries(redis_url, bench) == 2
    assert waiting(redis_url) == [30]


def test_one_of_a_parcel_is_taken_back(
    redis_url: RedisServer, waits: Callable[[int], Queue], consume: Consume, tmp_path: Path
) -> None:
    """The others are done, each once."""
    bench = waits(10)
    one = next(iter(bench.backend._sent.values())).attempt
    bench.backend.recall([one])
    assert not bench.end_of(one).began
    consume(redis_url)
    bench.until(lambda: len(bench.ends()) == 10)
    assert [end.attempt for end in bench.ends() if not end.began] == [one]


def test_a_purge_removes_what_is_in_parcels(redis_url: RedisServer, waits: Callable[[int], Queue]) -> None:
    """All of it, and the coordinator is told of each."""
    bench = waits(30)
    with Inspection(Broker(redis_url.parsed, LEASE)) as inspection:
        assert inspection.purge(bench.run_name) == 30
    bench.until(lambda: len(bench.ends()) == 30)
    assert not any(end.began for end in bench.ends())
    assert waiting(redis_url) == [0]


def test_a_parcel_is_put_back(redis_url: RedisServer, waits: Callable[[int], Queue]) -> None:
    """By a consumer that is drained at that moment: others can take, and claim, all of it; a second claim of the same is known."""
    bench = waits(30)
    receivers = [RedisReceiver(redis_url.parsed, name, 20.0) for name in ("first", "second")]
    taken = receivers[0].take([bench.run_name], 64, 0.0)
    assert (len(taken), sum(len(ids_of(one.data)) for one in taken), entries(redis_url, bench)) == (2, 30, 2)
    receivers[0].put_back(taken)
    again = receivers[1].take([bench.run_name], 64, 0.0)
    assert Counter(one.data for one in again) == Counter(one.data for one in taken)
    ids = [(number, 1) for number in range(1, 31)]
    first = receivers[1].claim(bench.run_name, ids[:20])
    assert receivers[1].claim(bench.run_name, ids) == [Claim.OURS] * 20 + [Claim.NEW] * 10
    assert (first, receivers[0].claim(bench.run_name, ids)) == ([Claim.NEW] * 20, [Claim.OTHERS] * 30)
    assert receivers[0].claim(bench.run_name, []) == []
    for one in receivers:
        one.close()


def test_no_more_than_there_is_room_for(redis_url: RedisServer, waits: Callable[[int], Queue]) -> None:
    """A consumer that has seen parcels takes as many as hold what it has room for."""
    bench = waits(64)
    receiver = RedisReceiver(redis_url.parsed, "one", 20.0)
    (one,) = receiver.take([bench.run_name], 1, 0.0)
    ids = ids_of(one.data)
    assert receiver.claim(bench.run_name, ids, [one.entry] * len(ids)) == [Claim.NEW] * 32
    for _ in range(64):
        bench.sh("exit 0")
    bench.until(lambda: len(bench.backend._sent) == 100 and entries(redis_url, bench) == 3)
    assert [len(ids_of(one.data)) for one in receiver.take([bench.run_name], 33, 0.0)] == [32]
    receiver.close()


def test_a_consumer_is_killed_that_has_parcels(
    redis_url: RedisServer, make: Make, consume: Consume, tmp_path: Path
) -> None:
    """What it has claimed is lost, and reported so; everything else is done, and nothing twice."""
    doomed = consume(redis_url)
    bench = short(make(redis_url))
    script = f"echo $0 >> {tmp_path}/ledger; [ $0 != 7 ] || sleep 60"
    attempts = [bench.start("sh", "-c", script, str(number)) for number in range(60)]
    bench.start_of(attempts[7])
    doomed.process.kill()
    consume(redis_url)
    bench.until(lambda: len(bench.ends()) == 60, 60.0)
    done, lost = ends(bench, 0), ends(bench, None)
    assert attempts[7] in lost
    assert done | lost == {*attempts}
    ran = Counter(int(line) for line in (tmp_path / "ledger").read_text().split())
    assert max(ran.values()) == 1
    assert {attempts.index(one) for one in done} <= ran.keys()


def ends(bench: Queue, status: int | None) -> set[Attempt]:
    return {one.attempt for one in bench.reports if isinstance(one, Ended) and one.ending.exit == status}
