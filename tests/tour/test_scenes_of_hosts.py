"""The scenes that go past one process or host, by what they tell."""

from __future__ import annotations

import pytest

from manyhands.tour.scenes.web import VISITORS, WORKERS
from tour.playing import Events, Play, at_once, spans, told


@pytest.mark.parametrize("via", ["rpyc", "manager"])
def test_rpc(play_made: Play, via: str) -> None:
    """All that is done to the rack is done in the server; it keeps what it has; the error is caught by its class; a stranger is refused."""
    events = play_made("rpc", "--via", via)
    (server,) = {one["pid"] for one in told(events, "server: ")}
    put, given, caught, refused = (told(events, text) for text in ("puts", "was given", "catches", "refused"))
    assert [one["data"] for one in put] == [{"dish": dish, "server": server} for dish in ("salad", "bread")]
    assert [one["data"]["dish"] for one in given] == ["bread", "salad"]
    assert caught[0]["data"] == {"kind": "LookupError", "message": "the rack is empty"}
    kinds = {"rpyc": "AttributeError", "manager": "AuthenticationError"}
    assert [one["data"]["kind"] for one in refused] == [kinds[via]]
    assert len({server, put[0]["pid"], given[0]["pid"], refused[0]["pid"]}) == 4


@pytest.mark.parametrize("via", ["rpyc", "manager"])
def test_a_server_without_a_lock_gives_its_secret_away(play_made: Play, via: str) -> None:
    """To another process, which was told nothing but the port; and each play has a secret of its own."""
    secrets = []
    for _ in range(2):
        events = play_made("rpc", "--broken", "--via", via)
        (server,), (thief,) = told(events, "server: has"), told(events, "has made the server say")
        assert server["data"]["secret"] == thief["data"]["found"]
        assert server["pid"] != thief["pid"]
        secrets.append(thief["data"]["found"])
    assert secrets[0] != secrets[1]


@pytest.mark.parametrize("tasks", ["8", "1"])
def test_cluster(play: Play, tasks: str) -> None:
    """Three workers, one killed; what it was doing is done by another, and all that was found is what processes here have found."""
    events = play("cluster", "--tasks", tasks)
    (pids,), (killed,), (left,) = (told(events, text) for text in ("a scheduler, and", "worker {victim}", "left are"))
    victim, number = killed["data"]["victim"], killed["data"]["number"]
    assert sorted([*left["data"]["pids"], victim]) == pids["data"]["pids"]
    here, there = told(events, "processes here", "found"), told(events, "the cluster", "found")
    assert here == there
    assert here[0] == [all(n % d for d in range(2, n)) for n in range(101, 101 + 2 * int(tasks), 2)]
    begun = [one["pid"] for one in events if one["event"] == "begin" and one["data"]["number"] == number]
    ended = [one["pid"] for one in events if one["event"] == "end" and one["data"]["number"] == number]
    assert victim in begun
    assert victim not in ended
    assert set(ended) & set(left["data"]["pids"])


@pytest.mark.sampled
def test_cluster_beside_any_processes(play_made: Play) -> None:
    """However those here are made."""
    events = play_made("cluster", "--tasks", "2")
    assert told(events, "processes here", "found") == told(events, "the cluster", "found") == [[True, True]]


def test_remote(play: Play) -> None:
    """Another process, through the port of our sshd; input, exit status, and a name come over unchanged."""
    events = play("remote")
    here, there = (one["data"] for one in told(events, "{where}: {name}"))
    assert there["port"] == str(told(events, "sshd listens", "port")[0]) != here["port"]
    assert there["name"] == here["name"]
    assert there["pid"] != here["pid"]
    assert told(events, "it reads what", "lines") == [["apple", "pear"]]
    assert told(events, "exit 7", "status") + told(events, "ssh itself", "status") == [7, 255]
    assert told(events, "quoted", "found") == ["my songs; touch oops"]
    assert told(events, "now there are", "names") == [["my songs; touch oops"]]


# -- the quick page ------------------------------------------------------------------------------------------------------


def quick(events: Events) -> tuple[float, float]:
    """When it was asked for, and when it had come."""
    ((begin, end, _),) = spans(events, "asks for the quick page")
    return begin, end


@pytest.mark.parametrize("via", ["threads", "tornado", "nginx"])
def test_web(play_made: Play, via: str) -> None:
    """No slow page has ended before the quick one came, though it was asked for later than all that were being made."""
    events = play_made("web", "--via", via, scale=0.5)
    (asked, came), slow = quick(events), spans(events, "makes")
    assert sorted(one["data"]["path"] for _, _, one in slow) == sorted(f"/slow/{n + 1}" for n in range(VISITORS))
    assert sum(begin < asked for begin, _, _ in slow) == (WORKERS if via == "nginx" else VISITORS)
    assert all(end > came for _, end, _ in slow)
    answered = {"threads": "BaseHTTP", "tornado": "TornadoServer", "nginx": "nginx"}
    assert told(events, "{server} says", "server")[0].startswith(answered[via])
    assert len({one["pid"] for _, _, one in slow}) == (WORKERS if via == "nginx" else 1)
    assert len({one["thread"] for _, _, one in slow}) == (VISITORS if via == "threads" else 1)


def test_two_workers_serve_two(play_made: Play) -> None:
    """The quick page waits until the slow ones before it are done, all but those that the other worker has, and those that were done
    before it was asked for: on a busy machine that takes as long as one of them."""
    events = play_made("web", "--via", "gunicorn")
    (asked, came), slow = quick(events), spans(events, "makes")
    assert at_once(slow) == WORKERS
    assert sum(asked < end < came for _, end, _ in slow) > VISITORS - 2 * WORKERS


def test_an_order_is_confirmed_before_it_is_done(play_made: Play) -> None:
    """Each POST has its 202, and each page can be had later."""
    events = play_made("web", "--via", "queue", scale=0.5)
    (_, came), slow = quick(events), spans(events, "makes")
    done = {one["data"]["path"]: end for _, end, one in slow}
    confirmed, had = told(events, "POST"), told(events, "GET")
    assert [one["data"]["status"] for one in confirmed] == [202] * VISITORS
    assert all(one["at"] < done[one["data"]["path"]] < later["at"] for one, later in zip(confirmed, had, strict=True))
    assert [one["data"]["words"] for one in had] == [f"at last: {one['data']['path']}" for one in confirmed]
    assert came < min(done.values())
    assert at_once(slow) == WORKERS


def test_a_blocking_handler_serves_one(play_made: Play) -> None:
    """The slow pages are made one after the other, and the quick one only after at least one of them."""
    events = play_made("web", "--broken")
    (asked, came), slow = quick(events), spans(events, "makes")
    assert at_once(slow) == 1
    assert any(asked < end < came for _, end, _ in slow)
