"""The scenes with a server between the programs, by what they tell."""

from __future__ import annotations

import threading

import pytest

from manyhands.tour.scenes.broker_clients import taking_from_zeromq
from tour.playing import Events, Play, at_once, spans, told


@pytest.mark.parametrize("first", ["dryer", "washer"])
def test_redis_dishes(play_made: Play, first: str) -> None:
    """Two programs, every dish in its order, whoever comes first."""
    events = play_made("redis-dishes", "--first", first)
    for what in ("washes", "dries"):
        assert [one["data"]["dish"] for _, _, one in spans(events, what)] == ["salad", "bread", "entree", "dessert"]
    waits = told(events, "waits for dishes")[0]["at"]
    assert (waits < spans(events, "washes")[0][0]) == (first == "dryer")
    assert told(events, "both have ended")[0]["data"] == {"codes": [0, 0], "left": []}


def test_redis_idle(play_made: Play) -> None:
    """One quit for three: the others leave later, each after its time."""
    events = play_made("redis-idle", "--idle", "10")
    (quit_,), tired = told(events, "reads quit"), told(events, "has had nothing")
    assert len(tired) == 2
    assert all(one["at"] > quit_["at"] and one["data"]["waited"] >= 0.9 * 10 * 0.2 for one in tired)
    assert len({one["pid"] for one in [quit_, *tired]}) == 3


def test_redis_ack(play_made: Play) -> None:
    """Four deaths, one at each step, and twelve dishes, each done once and never out of sight."""
    events = play_made("redis-ack")
    steps = ["it waits", "it took a dish", "it dries it", "it is dry"]
    assert told(events, "{dryer} is killed", "step") == steps
    assert sorted(map(int, told(events, "done are", "done")[0])) == list(range(1, 13))
    assert told(events, "looked", "wrong") == [0]
    assert told(events, "looked", "looks")[0] > 10


def test_redis_pressure(play_made: Play) -> None:
    """Never more dishes than places."""
    events = play_made("redis-pressure")
    assert max(told(events, "dish {dish} is on", "depth")) <= 3
    assert [int(one["data"]["dish"]) for _, _, one in spans(events, "dries")] == list(range(1, 21))


@pytest.mark.parametrize("name", ["redis-dishes", "redis-idle", "redis-ack", "redis-pressure"])
def test_without_a_server(play: Play, name: str) -> None:
    """fakeredis answers in the same words."""
    assert play(name, "--server", "fake", *["--idle", "5"][: 2 * (name == "redis-idle")])


def check_brokers(events: Events, jobs: int) -> None:
    """One was killed with jobs in hand; these and no others were taken twice, and every job was done once."""
    (death,), (end,) = told(events, "{via}: killed"), told(events, "{via}: in {put}")
    assert death["data"]["code"] == -9
    assert death["data"]["held"]
    assert told(events, "{via}: given again", "again") == [sorted(death["data"]["held"])]
    assert [end["data"][key] for key in ("put", "came", "lost", "twice")] == [jobs, jobs, [], []]
    assert [one["data"]["what"] for one in told(events, "{via:<9}{bar")] == ["rate", "latency"]


@pytest.mark.parametrize("via", ["redis", "zeromq"])
def test_brokers(play_made: Play, via: str) -> None:
    """What the dead had in hand comes again, and nothing else."""
    check_brokers(play_made("brokers", "--via", via), 1000)


@pytest.mark.parametrize("via", ["rabbitmq", "kafka"])
def test_brokers_that_take_their_time(play: Play, via: str) -> None:
    """The same of those that need seconds to start, or to notice a death."""
    check_brokers(play("brokers", "--via", via, "--jobs", "200"), 200)


def test_a_job_is_done_when_the_clerk_knows_it() -> None:
    """ZeroMQ sends from a thread of its own, which dies with the consumer: who went on at once would have told of what nobody heard."""
    zmq = pytest.importorskip("zmq", exc_type=ImportError)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as clerk:
        taking = taking_from_zeromq((0, clerk.bind_to_random_port("tcp://127.0.0.1")), acks=True)
        consumer = threading.Thread(target=next, args=[taking])
        consumer.start()
        who, done = clerk.recv_multipart()
        consumer.join(0.2)
        assert (consumer.is_alive(), done) == (True, b"0")
        clerk.send_multipart([who, b"[0, [1, 2]]"])
        consumer.join()
        assert next(taking)[0] == [1, 2]
        taking.close()


@pytest.mark.sampled
@pytest.mark.parametrize("via", ["redis", "rabbitmq", "zeromq", "kafka"])
@pytest.mark.parametrize("jobs", [100, 101, 3000])
def test_brokers_with_any_number_of_jobs(play_made: Play, via: str, jobs: int) -> None:
    """A hundred are enough, and an odd number is no trouble."""
    check_brokers(play_made("brokers", "--via", via, "--jobs", str(jobs)), jobs)


@pytest.mark.parametrize("via", ["redis", "zeromq"])
def test_brokers_without_acknowledgements(play: Play, via: str) -> None:
    """What was in the hands of the dead is lost; ZeroMQ loses what was on its way to it, too."""
    events = play("brokers", "--via", via, "--broken")
    (death,), (end,) = told(events, "{via}: killed"), told(events, "{via}: in {put}")
    lost, held = end["data"]["lost"], death["data"]["held"]
    assert (lost == held) if via == "redis" else (set(lost) > set(held))
    assert end["data"]["came"] + len(lost) == 1000
    assert end["data"]["twice"] == []
    assert told(events, "{via}: given again") == []


@pytest.mark.parametrize("via", ["rq", "celery"])
def test_task_queue(play_made: Play, via: str) -> None:
    """Put in one process and done in others: nobody waits, what fails is done again, a clock puts ticks, four are at work at once."""
    events = play_made("task-queue", "--via", via)
    pictures = spans(events, "resizes")
    assert sorted(one["data"]["number"] for _, _, one in pictures) == sorted([*range(1, 7)] * 2)
    assert {one["process"] for _, _, one in pictures[:6]} == {"worker 1"}
    assert at_once(pictures[:6]) == 1
    assert {one["process"] for _, _, one in pictures[6:]} > {"worker 1"}
    assert told(events, "the pictures are there", "found") == [[1, 2, 3, 4, 5, 6]] * 2
    assert told(events, "attempt", "attempt") == [1, 2, 3]
    (_, written, _), (answer,), (result,) = (
        *spans(events, "writes the report"),
        told(events, "the web server answers"),
        told(events, "GET /report"),
    )
    assert answer["data"]["status"] == 202
    assert answer["at"] < written < result["at"]
    assert result["data"]["said"] == "all is well"
    assert told(events, "tick {count}", "count")[:4] == [1, 2, 3, 4]
    assert answer["process"] == "MainProcess"
