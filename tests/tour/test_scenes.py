"""Every scene of the tour, by what it tells: a test for each, under every way of making processes where it makes any."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys

import pytest

from conftest import HERE
from manyhands.tour.contents import METHODS, SCENES
from tour.playing import Events, Play, at_once, spans, told


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_a_busy_machine_is_named_in_the_verdict(environment: dict[str, str]) -> None:
    """Times that were measured beside the work of others are told as such; or else it is why nothing was seen."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        argv = [sys.executable, "-m", "manyhands", "tour.gil", "--scale", "0.1", "--workers", "2"]
        done = subprocess.run(argv, cwd=HERE, env=environment, capture_output=True, text=True, check=False, timeout=100)
    finally:
        for one in loops:
            one.kill()
            one.wait()
    assert "the machine was busy" in done.stdout.splitlines()[-1]


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
    assert starts == [["import", *["parent"] * (method == "fork")]] * 2
    assert [one[-1].startswith("child of") for one in told(events, "now has", "notes")] == [True, True]
    assert told(events, "has", "notes") == told(events, "still has", "notes") == [["import", "parent"]]
    assert all(len(one["text"]) <= 49 for one in events)  # what 80 columns leave for it


@pytest.mark.parametrize("method", METHODS)
def test_process_zombie(play: Play, method: str) -> None:
    """A zombie until one of five ways of asking, and for as long as nobody asks; a fork server leaves none, which is no failure."""
    events = play("process-zombie", "--start-method", method, status=3 if method == "forkserver" else 0)
    if method != "forkserver":
        ways = told(events, "a {before}")
        assert [(one["data"]["before"], one["data"]["after"]) for one in ways] == [("zombie", "gone")] * 5
        assert len({one["data"]["way"] for one in ways}) == 5
        assert told(events, "a second after", "state") == ["zombie"]


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
    """Five tasks, each done once; join before close is refused; the verdict says how many workers did them."""
    events = play_made("pool-async")
    tasks = [one for _, _, one in spans(events, "task")]
    assert sorted(one["data"]["number"] for one in tasks) == [1, 2, 3, 4, 5]
    assert told(events, "done", "numbers") == [[1, 2, 3, 4, 5]]
    assert len(told(events, "join before close")) == 1
    (workers,) = told(events, "Pool() has", "workers")
    assert f"; {len({one['pid'] for one in tasks})} of {workers} workers did them" in events.verdict


def test_pool_size(play_made: Play) -> None:
    """Three at once by three processes; the fourth begins when one of them has ended."""
    events = play_made("pool-size")
    tasks = spans(events, "task")
    assert at_once(tasks) == 3
    assert len({one["pid"] for _, _, one in tasks}) == 3
    assert tasks[3][0] >= min(end for _, end, _ in tasks)


@pytest.mark.parametrize("method", METHODS)
def test_pool_state(play: Play, method: str) -> None:
    """Each worker remembers the initializer and what it has done; by fork also what was there before Pool(), but nothing since."""
    events = play("pool-state", "--start-method", method)
    for pid in {one["pid"] for one in told(events, "my history")}:
        mine = [one["data"] for one in told(events, "my history") if one["pid"] == pid]
        assert mine[-1]["history"] == [*["before"] * (method == "fork"), "init", *(one["number"] for one in mine)]
    assert told(events, "after Pool()", "history") == told(events, "here it is", "history") == [["before", "after"]]


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
    """Both hear the other, and say what they send; the end is noticed."""
    events = play_made("talk-duplex")
    child, parent = told(events, "receives")
    assert (child["data"]["message"], parent["data"]["message"]) == ("hello", "hello, too")
    assert child["pid"] != parent["pid"]
    assert [one["pid"] for one in told(events, "sends")] == [parent["pid"], child["pid"]]
    assert len(told(events, "EOFError")) == 1


def test_talk_oneway(play_made: Play) -> None:
    """Five results, in order, from five processes that say so, and every end closed."""
    events = play_made("talk-oneway")
    assert told(events, "receives", "result") == [1, 4, 9, 16, 25]
    received = {one["data"]["worker"]: one["data"]["result"] for one in told(events, "receives")}
    assert {one["pid"]: one["data"]["result"] for one in told(events, "sends")} == received
    assert len(received) == 5
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
    """The cards come out as they went in; No. 2 comes to an empty queue, and waits until the third card is put."""
    events = play_made("talk-cards", scale=0.4)
    assert told(events, "has the", "card") == told(events, "puts", "card")
    assert [one["process"] for one in told(events, "has the")] == ["No. 3", "No. 3", "No. 2"]
    ((began, ended, _),) = [one for one in spans(events, "takes") if one[2]["process"] == "No. 2"]
    before = [one for one in events if one["at"] < began]
    assert len(told(Events(before, ""), "puts")) == len(told(Events(before, ""), "has the")) == 2
    assert began < told(events, "puts")[2]["at"] <= ended


def test_talk_cost(play_made: Play) -> None:
    """Three ways, measured there and back; the bars are as long as the times, and the longest is whole."""
    events = play_made("talk-cost", "--messages", "500")
    assert told(events, "{kind", "kind") == ["Pipe", "SimpleQueue", "Queue"]
    assert told(events, "has sent", "messages") == [500] * 3 * 4
    each, bars = told(events, "{kind", "each"), told(events, "{kind", "bar")
    assert [len(bar) for bar in bars] == [round(24 * one / max(each)) for one in each]
    assert each[2] > each[0] > 0


# -- sharing -------------------------------------------------------------------------------------------------------------


def test_share_memory(play_made: Play) -> None:
    """The parent sees what a child has written into shared memory, and not what another did to a list."""
    events = play_made("share-memory")
    plain, negated = list(range(10)), [-n for n in range(10)]
    assert told(events, "value", "number") == [0.0, 3.1415927]
    assert told(events, "array", "numbers") == [plain, negated]
    assert told(events, "list", "numbers") == [plain, plain]
    assert told(events, "now has", "numbers") == [negated, negated]
    assert len({one["pid"] for one in events}) == 3
    assert all(len(one["text"]) <= 49 for one in events)  # what 80 columns leave for it


def test_share_manager(play_made: Play) -> None:
    """The same through proxies, and what they cost."""
    events = play_made("share-manager")
    assert told(events, "dict:", "words") == [{"name": "many hands", "0.25": None}]
    assert told(events, "list:", "numbers") == [list(range(9, -1, -1))]
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
        dry = [one["data"]["dish"] for one in told(events, "{name} is dry") if one["data"]["round"] == name]
        assert len(dry) == len(set(dry)) == 8 - lost
    assert len(told(events, "{me} falls over")) == 2


@pytest.mark.parametrize("via", ["process", "thread", "asyncio", "gevent"])
@pytest.mark.parametrize("way", ["alone", "batch", "line"])
def test_dishes_without_a_rack(play: Play, way: str, via: str) -> None:
    """One does everything; or all are washed before any is dried; or three hand every dish on, and work at the same time."""
    events = play("dishes", "--via", via, "--way", way, "--dishes", "5", "--dryers", "2")
    steps = [spans(events, text) for text in ("washes", "dries", "puts")]
    for step in steps:
        assert sorted(one["data"]["dish"] for _, _, one in step) == [1, 2, 3, 4, 5]
    names = [one["data"]["name"] for _, _, one in steps[0][:4]]
    assert names == ["the salad", "the bread", "the entree", "the dessert"]
    actors = {(one["pid"], one["thread"], one["task"]) for step in steps for _, _, one in step}
    assert len(actors) == {"alone": 1, "batch": 4, "line": 3}[way]
    if way == "alone":
        assert at_once([span for step in steps for span in step]) == 1
    for before, after in itertools.pairwise(steps):
        if way == "batch":
            assert max(end for _, end, _ in before) <= min(begin for begin, _, _ in after)
        if way == "line":
            assert [one["data"]["dish"] for _, _, one in after] == [1, 2, 3, 4, 5]
            assert after[0][0] < before[-1][1]  # the second has begun before the first is done with the last


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", ["alone", "batch", "line"])
def test_dishes_without_a_rack_by_processes(play: Play, way: str, method: str) -> None:
    """However they are made."""
    play("dishes", "--way", way, "--start-method", method, "--dishes", "4")


@pytest.mark.parametrize("slowest", ["wash", "dry", "put"])
def test_the_pace_of_a_line_is_its_slowest_member(play: Play, slowest: str) -> None:
    """Whoever that is, and however quick the others are."""
    quick = [word for step in ("wash", "dry", "put") if step != slowest for word in (f"--{step}", "0.4")]
    who = {"wash": "washer", "dry": "dryer", "put": "stacker"}[slowest]
    verdict = play("dishes", "--via", "thread", "--way", "line", f"--{slowest}", "1", *quick).verdict
    assert f"of whom the {who} is the slowest" in verdict


@pytest.mark.parametrize("via", ["thread", "process", "asyncio"])
def test_spinner(play_made: Play, via: str) -> None:
    """It turns while the call is waited for; and the answer is 42."""
    events = play_made("spinner", "--via", via, scale=0.3)
    ((began, ended, _),) = spans(events, "a slow call")
    assert 2 <= told(events, "the spinner", "frames")[0] <= (ended - began) * 10 + 3
    assert told(events, "Answer", "answer") == [42]


@pytest.mark.parametrize("via", ["process", "thread"])
def test_primes(play_made: Play, via: str) -> None:
    """Both ways give the verdicts that everybody can look up; so little work is not called faster."""
    known = {2: True, 10000000019: True, 10000000020: False, 299593572317: False, 1000003: True, 9: False, 1: False}
    events = play_made("primes", "--via", via, *map(str, known))
    rows = told(events, "{number")
    assert len(rows) == 2 * len(known)
    assert all(known[one["data"]["number"]] == (one["data"]["verdict"] == "prime") for one in rows)
    assert [one["data"]["number"] for one in rows[: len(known)]] == list(known)
    assert told(events, "{count} in {took:.3f} s by", "workers") == [os.cpu_count()]
    assert "times as fast" not in events.verdict


def test_primes_come_as_they_are_found(play: Play) -> None:
    """One that takes long is asked first and comes last; nobody is called faster for that."""
    events = play("primes", "3333333333333301", "7", "11", "--workers", "2", scale=1)
    arrived = [one["data"]["number"] for one in told(events, "{number") if one["data"]["by"] != "me"]
    assert arrived[-1] == 3333333333333301
    assert "came in another order" in events.verdict


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
    """No thread sees another's student, by any of the three ways."""
    events = play("thread-local")
    assert told(events, "local() is", "empty") == [True] * 3
    for way in ("argument", "dict", "local()"):
        found = {(one["thread"], one["data"]["seen"]) for one in told(events, "{way}") if one["data"]["way"] == way}
        assert found == {(name, name) for name in ("Ada", "Grace", "Edsger")}


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
    """3, 3, 2 and 3 seconds: only tasks overlap."""
    events = play("asyncio-sleeps")
    ways, says = spans(events, "{way}"), spans(events, "says")
    found = {one["data"]["way"]: at_once([span for span in says if a <= span[0] < b]) for a, b, one in ways}
    assert found == {"blocking": 1, "one_after_another": 1, "as_tasks": 2, "bare": 1}


def test_asyncio_timeouts(play: Play) -> None:
    """The hour is cut; a limit counts from the await; a time-out that nobody catches ends main before the second arrives."""
    events = play("asyncio-timeouts")
    assert len(told(events, "cut after a second")) == 1
    order = [
        one["text"].split(",")[0] for one in events if one["template"].startswith(("{word} arrives", "main", "hello"))
    ]
    assert order == [
        *["hello arrives", "world arrives", "main has ended well"],
        *["hello is cut", "main has ended with TimeoutError"],
        *["hello is cut", "world arrives", "main has ended well"],
    ]
    (began, ended, _) = next(one for one in spans(events, "{word} is") if one[2]["data"]["word"] == "world")
    assert ended - began > told(events, "waits for world", "limit")[0]


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
    "options",
    [
        "--dishes 1",
        "--washers 5 --dishes 2",
        "--queue-size 1 --wash 0 --dry 0.1",
        "--wash 0 --dry 0",
        "--way line --wash 0 --dry 0 --put 0",
        "--way line --queue-size 1 --dishes 4",
        "--way batch --washers 5 --dishes 2",
    ],
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
    assert told(events, "hears", "line")[:2] == ["Who's there?", "Disappearing client who?"]
    assert told(events, "{name}: exit", "alive") == [True, True]


def test_actor(play: Play) -> None:
    """A thousand senders, a thousand counted, by one thread; each message is as it was when it was sent."""
    events = play("actor")
    assert told(events, "there is no more", "total") == [1000]
    messages = told(events, "message {done}")
    assert {one["thread"] for one in messages} == {"counter"}
    assert [one["data"]["total"] for one in messages] == [1, 2, 3, 250, 500, 750, 1000]
    assert {one["data"]["message"]["add"] for one in messages} == {1}
    assert told(events, "has sent 1", "message") == [{"add": 1_000_000}] * 3


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
    "thread-local": "who was set last",
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
