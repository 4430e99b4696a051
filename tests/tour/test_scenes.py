"""Every scene of the tour, by what it tells: a test for each, under every way of making processes where it makes any."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from conftest import HERE
from manyhands.tour.contents import METHODS, SCENES
from tour.playing import Play, at_once, spans, told


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_a_busy_machine_is_named_in_the_verdict(environment: dict[str, str]) -> None:
    """Times that were measured beside the work of others are told as such."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        argv = [sys.executable, "-m", "manyhands", "tour.gil", "--scale", "0.1", "--workers", "2"]
        done = subprocess.run(argv, cwd=HERE, env=environment, capture_output=True, text=True, check=False, timeout=100)
    finally:
        for one in loops:
            one.kill()
            one.wait()
    assert "but the machine was busy with other work: waiting may have been for a CPU" in done.stdout.splitlines()[-1]


# -- processes -----------------------------------------------------------------------------------------------------------


def test_process_fork(play: Play) -> None:
    """Two returns: 0 where the parent is the other one, and the child's number there; the child is reaped."""
    events = play("process-fork")
    (child,), (parent,) = told(events, "fork returned 0"), told(events, "fork returned {child}")
    assert child["data"]["parent"] == parent["pid"] != child["pid"] == parent["data"]["child"]
    assert told(events, "child {child} has ended", "code") == [0]


def test_process_names(play_made: Play) -> None:
    """Five processes, five numbers."""
    events = play_made("process-names")
    assert len({one["pid"] for one in told(events, "I am")}) == 5
    assert told(events, "all have ended", "codes") == [[0, 0, 0, 0]]


def test_process_terminate(play_made: Play) -> None:
    """It counts up to about five, ends by SIGTERM, and is no zombie."""
    events = play_made("process-terminate")
    counts = told(events, "counts", "number")
    assert counts == list(range(1, len(counts) + 1))
    assert 1 <= len(counts) <= 6
    assert told(events, "it has ended")[0]["data"] == {"code": -signal.SIGTERM, "used": False}


def test_process_join(play_made: Play) -> None:
    """Without join the parent is done before its children, with it after them."""
    events = play_made("process-join")
    without, joined = told(events, "reached the end", "took")
    assert told(events, "both are alive", "alive") == [True, True]
    assert without < joined
    assert joined >= 2 * 0.2
    order = [one["text"].split()[0] for one in events if one["template"].startswith(("reached", "has slept"))]
    assert order == ["reached", "has", "has", "has", "has", "reached"]


@pytest.mark.parametrize("method", METHODS)
def test_process_memory(play: Play, method: str) -> None:
    """fork copies what the parent had, and imports once; the others import in every process, and know nothing of it."""
    events = play("process-memory", "--start-method", method)
    assert len(told(events, "the module is imported")) == (1 if method == "fork" else 3)
    starts = told(events, "starts with", "notes")
    assert starts == [["made at import", *["changed by the parent"] * (method == "fork")]] * 2
    assert told(events, "still has", "notes") == [["made at import", "changed by the parent"]]


@pytest.mark.parametrize("method", METHODS)
def test_process_zombie(play: Play, method: str) -> None:
    """A zombie before join, gone after it; a fork server leaves none, which is no failure."""
    events = play("process-zombie", "--start-method", method, status=3 if method == "forkserver" else 0)
    if method != "forkserver":
        assert told(events, "before join", "state") == ["zombie"]
        assert told(events, "after join", "used") == [False]


def test_process_daemon(play_made: Play) -> None:
    """Nothing is heard of the daemon when its parent has ended."""
    events = play_made("process-daemon")
    (end,) = told(events, "the parent has ended")
    ticks = told(events, "ticks")
    assert ticks
    assert all(one["at"] <= end["at"] for one in ticks)


def test_process_random(play_made: Play) -> None:
    """Three processes, each with a wait of its own."""
    events = play_made("process-random")
    assert len({one["pid"] for one in told(events, "has waited")}) == 3
    assert all(0 <= seconds <= 1 for seconds in told(events, "has waited", "seconds"))


def test_process_identity(play: Play) -> None:
    """What Python says is what id and pwd say."""
    events = play("process-identity")
    (me,), (said,) = told(events, "I am"), told(events, "id and pwd", "said")
    assert said == [str(me["data"]["uid"]), str(me["data"]["gid"]), str(HERE)]


def test_process_shell(play: Play) -> None:
    """A hostile name is one argument."""
    assert told(play("process-shell"), "now there", "names") == [["my songs; touch oops"]]


# -- pools ---------------------------------------------------------------------------------------------------------------


def test_pool_async(play_made: Play) -> None:
    """Five tasks, each done once; join before close is refused."""
    events = play_made("pool-async")
    assert sorted(one["data"]["number"] for _, _, one in spans(events, "task")) == [1, 2, 3, 4, 5]
    assert told(events, "done", "numbers") == [[1, 2, 3, 4, 5]]
    assert len(told(events, "join before close")) == 1


def test_pool_size(play_made: Play) -> None:
    """Three at once by three processes; the fourth begins when one of them has ended."""
    events = play_made("pool-size")
    tasks = spans(events, "task")
    assert at_once(tasks) == 3
    assert len({one["pid"] for _, _, one in tasks}) == 3
    assert tasks[3][0] >= min(end for _, end, _ in tasks)


def test_pool_state(play_made: Play) -> None:
    """Each worker remembers the initializer and what it has done, and nothing of the others."""
    events = play_made("pool-state")
    for pid in {one["pid"] for one in told(events, "my history")}:
        mine = [one["data"] for one in told(events, "my history") if one["pid"] == pid]
        assert mine[-1]["history"] == ["init", *(f"task {one['number']}" for one in mine)]


def test_pool_apply(play_made: Play) -> None:
    """apply comes back after its task, apply_async before it."""
    events = play_made("pool-apply")
    first, second = spans(events, "task")
    assert told(events, "apply gave")[0]["at"] >= first[1]
    assert told(events, "apply_async")[0]["at"] <= second[1]
    assert told(events, "apply_async", "ready") == [False]
    assert told(events, "get gave", "number") == [2]


def test_pool_threads(play: Play) -> None:
    """All four ways, in threads of one process, with callbacks that are called."""
    events = play("pool-threads")
    found = [
        told(events, text, "found") for text in ("map gave", "the callback of map", "apply gave", "the callback of apply")
    ]
    assert found == [[[1, 2]], [[3, 4]], [5], [6]]
    assert len({one["pid"] for one in events}) == 1


@pytest.mark.parametrize("via", ["thread", "process"])
@pytest.mark.parametrize("workers", [1, 3, 5])
def test_futures(play: Play, via: str, workers: int) -> None:
    """Never more at once than there are workers, and results in order."""
    events = play("futures", "--via", via, "--workers", str(workers))
    tasks = spans(events, "task")
    assert at_once(tasks) <= workers
    assert told(events, "result", "number") == [1, 2, 3, 4, 5]
    assert tasks[-1][1] - tasks[0][0] >= -(-5 // workers) * 0.2


@pytest.mark.parametrize("via", ["thread", "process"])
def test_futures_completed(play: Play, via: str) -> None:
    """All five, and not in the order in which they were submitted."""
    order = told(play("futures-completed", "--via", via), "done", "seconds")
    assert sorted(order) == [0.3, 0.6, 0.9, 1.2, 1.5]
    assert order != [1.5, 0.9, 0.3, 1.2, 0.6]


# -- talking -------------------------------------------------------------------------------------------------------------


def test_talk_duplex(play_made: Play) -> None:
    """Both hear the other."""
    events = play_made("talk-duplex")
    child, parent = told(events, "got")
    assert (child["data"]["message"], parent["data"]["message"]) == ("hello", "hello, too")
    assert child["pid"] != parent["pid"]


def test_talk_oneway(play_made: Play) -> None:
    """Five results, in order, from five processes, and every end closed."""
    events = play_made("talk-oneway")
    assert told(events, "worker", "result") == [1, 4, 9, 16, 25]
    assert len(set(told(events, "worker", "worker"))) == 5
    assert told(events, "open ends", "ends") == [0]


def test_talk_buffer(play_made: Play) -> None:
    """First in, first out; a full pipe holds the sender, until it is drained."""
    events = play_made("talk-buffer")
    assert told(events, "something is waiting", "waiting") == [False, True]
    assert told(events, "received", "words") == [["first", "second"]]
    assert 0 < told(events, "the sender is stuck", "size")[0] < 200 * 1024
    assert told(events, "has sent all")[0]["at"] > told(events, "the sender is stuck")[0]["at"]
    assert told(events, "all is received", "code") == [0]


def test_talk_queue(play_made: Play) -> None:
    """Both readers get all; one is terminated, the other leaves by itself."""
    events = play_made("talk-queue")
    assert told(events, "gets", "letter") == list("ABCABC")
    assert told(events, "the reader ended", "code") == [-signal.SIGTERM, 0]


def test_talk_cards(play_made: Play) -> None:
    """The cards come out as they went in, one to each player."""
    events = play_made("talk-cards", scale=0.4)
    assert told(events, "gets", "card") == told(events, "puts", "card")
    assert len({one["pid"] for one in told(events, "gets")}) == 3


def test_talk_cost(play_made: Play) -> None:
    """Three ways, measured."""
    events = play_made("talk-cost", "--messages", "500")
    assert told(events, "{kind", "kind") == ["Pipe", "SimpleQueue", "Queue"]
    assert all(each > 0 for each in told(events, "{kind", "each"))


# -- sharing -------------------------------------------------------------------------------------------------------------


def test_share_memory(play_made: Play) -> None:
    """The parent sees what the child has written."""
    (after,) = told(play_made("share-memory"), "after")
    assert after["data"] == {"number": 3.1415927, "numbers": [-n for n in range(10)]}


def test_share_manager(play_made: Play) -> None:
    """The same through proxies, and what they cost."""
    events = play_made("share-manager")
    assert told(events, "{words}")[0]["data"] == {
        "words": {"name": "many hands", "0.25": None},
        "numbers": list(range(9, -1, -1)),
    }
    (cost,) = told(events, "+= takes")
    assert cost["data"]["manager"] > cost["data"]["memory"] > 0


@pytest.mark.parametrize("via", ["process", "thread"])
def test_share_locks(play_made: Play, via: str) -> None:
    """Nothing is lost, nothing comes too early, no more than two at once, nothing is taken that is not there."""
    events = play_made("share-locks", "--via", via)
    assert told(events, "lock", "total") == [100]
    assert told(events, "event", "data") == [42]
    assert at_once(spans(events, "semaphore")) <= 2
    assert told(events, "condition", "left") == [1, 0]


# -- examples ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["process", "thread", "asyncio", "gevent"])
def test_dishes(play: Play, via: str) -> None:
    """Every dish is washed once and dried once, in this order, by as many processes and threads as there should be."""
    events = play("dishes", "--via", via, "--washers", "2", "--dryers", "3", "--dishes", "7")
    washed, dried = (
        {one["data"]["dish"]: (begin, end) for begin, end, one in spans(events, text)} for text in ("washes", "dries")
    )
    assert set(washed) == set(dried) == set(range(1, 8))
    assert len(spans(events, "washes")) == len(spans(events, "dries")) == 7
    assert all(dried[dish][0] >= washed[dish][1] for dish in washed)
    hands = [one for one in events if one["event"] == "begin"]
    pids, threads, tasks = ({one[key] for one in hands} for key in ("pid", "thread", "task"))
    assert (len(pids) > 1) == (via == "process")
    assert (len(threads) > 1) == (via == "thread")
    assert (len(tasks) > 1) == (via in ("asyncio", "gevent"))


@pytest.mark.parametrize("method", METHODS)
def test_dishes_by_processes(play: Play, method: str) -> None:
    """However they are made; and a small rack holds the washer up."""
    events = play(
        "dishes", "--start-method", method, "--dryers", "1", "--dishes", "6", "--wash", "0.01", "--queue-size", "1"
    )
    dried = spans(events, "dries")
    assert [one["data"]["dish"] for _, _, one in dried] == [1, 2, 3, 4, 5, 6]
    last_washed = spans(events, "washes")[-1]
    assert last_washed[0] >= dried[2][0]  # one is being dried, one on the rack, one in the washer's hands


@pytest.mark.parametrize("method", METHODS)
def test_dishes_with_a_drunk_dryer(play: Play, method: str) -> None:
    """One dish is lost with a plain queue, none with acknowledgement, and none is dried twice."""
    events = play("dishes", "--start-method", method, "--drunk-dryer", "--dishes", "8")
    for name, lost in (("plain", 1), ("acknowledged", 0)):
        dry = [one["data"]["dish"] for one in told(events, "dish {dish} is dry") if one["data"]["round"] == name]
        assert len(dry) == len(set(dry)) == 8 - lost
    assert len(told(events, "{me} falls over")) == 2


@pytest.mark.parametrize("via", ["thread", "process", "asyncio"])
def test_spinner(play_made: Play, via: str) -> None:
    """It turns while the call is waited for; and the answer is 42."""
    events = play_made("spinner", "--via", via, scale=0.3)
    ((began, ended, _),) = spans(events, "a slow call")
    assert 2 <= told(events, "the spinner", "frames")[0] <= (ended - began) * 10 + 3
    assert told(events, "Answer", "answer") == [42]


@pytest.mark.parametrize("via", ["process", "thread"])
def test_primes(play_made: Play, via: str) -> None:
    """Both ways give the verdicts that everybody can look up."""
    known = {2: True, 10000000019: True, 10000000020: False, 299593572317: False, 1000003: True, 9: False, 1: False}
    events = play_made("primes", "--via", via, *map(str, known))
    rows = told(events, "{number")
    assert len(rows) == 2 * len(known)
    assert all(known[one["data"]["number"]] == (one["data"]["verdict"] == "prime") for one in rows)


def test_primes_of_the_fixture(play: Play) -> None:
    """The twenty numbers: nine primes."""
    rows = told(play("primes", "--method", "miller-rabin"), "{number")
    assert len(rows) == 40
    assert sum(one["data"]["verdict"] == "prime" for one in rows) == 2 * 9


# -- threads -------------------------------------------------------------------------------------------------------------


def test_thread_names(play: Play) -> None:
    """One process, five names."""
    events = play("thread-names")
    assert {one["thread"] for one in events} == {"MainThread", "thread 1", "thread 2", "thread 3", "thread 4"}
    assert len({one["pid"] for one in events}) == 1


def test_thread_bank(play: Play) -> None:
    """With the lock nothing is lost."""
    assert told(play("thread-bank"), "after", "balance") == [0]


def test_thread_sum(play: Play) -> None:
    """1 to 10 make 55, and every sum in between is right."""
    events = play("thread-sum")
    assert told(events, "the total", "total") == [55]
    total = 0
    for one in told(events, "adds"):
        total += one["data"]["number"]
        assert one["data"]["total"] == total


def test_thread_class(play: Play) -> None:
    """run is called in the new thread, with self."""
    assert {(one["thread"], one["data"]["number"]) for one in play("thread-class")} == {
        (f"greeter {n}", n) for n in (1, 2, 3)
    }


def test_thread_local(play: Play) -> None:
    """No thread sees another's student."""
    events = play("thread-local")
    assert told(events, "nobody is here", "empty") == [True] * 3
    assert told(events, "I see", "seen") == told(events, "I see", "student")
    assert len(set(told(events, "I see", "seen"))) == 3


def test_thread_fork(play: Play) -> None:
    """A process that was not forked has one thread, and ends well."""
    events = play("thread-fork")
    assert told(events, "the child has", "threads") == [1]
    assert told(events, "the child ended", "code") == [0]


def test_gil(play_made: Play) -> None:
    """Everything is measured, and two waits are at the same time."""
    events = play_made("gil", scale=0.1)
    assert len(told(events, "{work")) == 8
    assert at_once(spans(events, "waits")) == 2


# -- coroutines ----------------------------------------------------------------------------------------------------------


def test_coroutine_sum(play: Play) -> None:
    """0, 1, 3."""
    assert [one["data"]["total"] for one in play("coroutine-sum")] == [0, 1, 3]


def test_coroutine_callbacks(play: Play) -> None:
    """The loops take turns."""
    events = play("coroutine-callbacks")
    assert [one["text"] for one in events] == [f"{name} does step {n}" for n in (1, 2, 3) for name in ("first", "second")]


def test_asyncio_sleeps(play: Play) -> None:
    """3, 2 and 3 seconds: only tasks overlap."""
    events = play("asyncio-sleeps")
    (one, _, _), (two, _, _), (three, end, _) = spans(events, "{way}")
    says = spans(events, "says")
    assert [
        at_once([span for span in says if a <= span[0] < b]) for a, b in ((one, two), (two, three), (three, end))
    ] == [1, 2, 1]


def test_asyncio_timeouts(play: Play) -> None:
    """The hour is cut; of the greetings only the first one with the short limit."""
    events = play("asyncio-timeouts")
    assert len(told(events, "cut after a second")) == 1
    assert sorted(told(events, "{word} arrives", "word")) == ["hello", "world", "world"]
    assert told(events, "{word} is cut", "word") == ["hello"]


def test_asyncio_queue(play: Play) -> None:
    """Five items, in order, made while others are used."""
    events = play("asyncio-queue")
    made, used = spans(events, "makes"), spans(events, "uses")
    assert [one["data"]["item"] for _, _, one in used] == [1, 2, 3, 4, 5]
    assert all(use[0] >= make[1] for make, use in zip(made, used, strict=True))
    assert at_once(made + used) == 2


def test_asyncio_getter(play: Play) -> None:
    """The getter is first, and gets when it is put."""
    events = play("asyncio-getter")
    ((begin, end, _),) = spans(events, "waits")
    assert begin < told(events, "puts it")[0]["at"] <= told(events, "got")[0]["at"]
    assert end >= told(events, "puts it")[0]["at"]


# -- events --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["gevent", "patch-all", "patch-socket"])
def test_resolve(play: Play, via: str) -> None:
    """All at once; the dead name costs the others nothing."""
    events = play("resolve", "--via", via)
    assert sorted(told(events, "{host} is", "host")) == ["quick.test", "slow.test", "slower.test"]
    assert told(events, "{host} has not", "host") == ["dead.test"]
    assert len({one["task"] for one in told(events, "{host} is")}) == 3


def test_resolve_names_of_ones_own(play: Play) -> None:
    """Whatever is asked for, nobody leaves 127.0.0.1."""
    events = play("resolve", "a.example", "dead.test")
    assert told(events, "{host} is", "address") == ["127.0.0.9"]
    assert told(play("resolve", "dead.test"), "{host} is") == []


@pytest.mark.sampled
@pytest.mark.parametrize("workers", ["1", "2", "7"])
@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if "workers" in scene.options])
def test_any_number_of_workers(play: Play, name: str, workers: str) -> None:
    """One, two or seven: what the scene is about is seen all the same."""
    quick = ["10000000019", "7"] if name == "primes" else []
    play(name, *quick, "--workers", workers, scale=0.15)


@pytest.mark.sampled
@pytest.mark.parametrize("via", ["process", "thread", "asyncio", "gevent"])
@pytest.mark.parametrize(
    "options", ["--dishes 1", "--washers 5 --dishes 2", "--queue-size 1 --wash 0 --dry 0.1", "--wash 0 --dry 0"]
)
def test_dishes_at_any_speed(play: Play, via: str, options: str) -> None:
    """Whoever is too many or too quick: each dish is washed once and dried once."""
    play("dishes", "--via", via, *options.split())


def test_eventlet_names(play: Play) -> None:
    """The same by eventlet, where it works."""
    events = play("eventlet-names")
    assert sorted(told(events, "{host} is", "host")) == ["quick.test", "slow.test", "slower.test"]
    assert told(events, "{host} has not", "host") == ["dead.test"]


def test_knock(play_made: Play) -> None:
    """Two clients have their four lines, from one server in another process."""
    events = play_made("knock")
    assert told(events, "server hears", "line") == [
        "Knock, knock!",
        "Disappearing client",
        "Knock, knock!",
        "Second client",
    ]
    assert len({one["pid"] for one in told(events, "server hears")}) == 1
    assert told(events, "{name} hears", "line")[:2] == ["Who's there?", "Disappearing client who?"]
    assert told(events, "{name} has ended", "alive") == [True, True]


def test_actor(play: Play) -> None:
    """A thousand senders, a thousand counted, by one thread."""
    events = play("actor")
    assert told(events, "the total", "total") == [1000]
    assert told(events, "the total")[0]["thread"] == "counter"


# -- what goes wrong -----------------------------------------------------------------------------------------------------

BROKEN = {
    "process-zombie": "5 zombies stayed",
    "process-daemon": "times more, until we ended it",
    "process-shell": "a new file 'oops'",
    "process-crash": "none of them was heard of again",
    "process-guard": "the child's work was never done",
    "pool-threads": "nothing was ever given out again",
    "future-states": "as if nothing had happened",
    "talk-buffer": "waited for the other",
    "talk-queue": "would have waited for ever",
    "talk-pickling": "3 items were put without an error, and 2 arrived",
    "queue-ends": "1 of 2 would have waited for ever",
    "share-locks": "additions were lost",
    "spinner": "held the whole event loop up",
    "thread-bank": "changes were lost",
    "thread-stop": "never looked",
    "lock-order": "both would wait for ever",
    "lock-release": "the next one would wait for ever",
    "thread-fork": "stayed locked for ever",
    "coroutine-callbacks": "not one step was done",
    "redis-ack": "were lost (5, 6, 7, 8)",
    "redis-pressure": "that was meant for 3",
    "brokers": "were lost with the consumer that was killed",
    "rpc": "which nobody has offered",
    "remote": "a new file 'oops'",
    "web": "the event loop stood still",
    "loop-hog": "not one beat while another computed",
    "actor": "have added 1, and the total is",
}


def test_every_broken_scene_has_a_verdict() -> None:
    """None is forgotten here."""
    assert set(BROKEN) == {name for name, scene in SCENES.items() if scene.broken}


@pytest.mark.parametrize("name", BROKEN)
def test_the_mistake_can_be_seen(name: str, play: Play) -> None:
    """With --broken each shows its failure, in bounded time, and leaves nothing."""
    assert BROKEN[name] in play(name, "--broken", scale=0.3).verdict
