"""The scenes about details, by what they tell: programs, threads, messages, futures, locks, costs."""

from __future__ import annotations

import signal

import pytest

from tour.playing import Play, at_once, spans, told

WAYS = ["sentinel", "agreed count", "event", "idle time-out"]


# -- processes -----------------------------------------------------------------------------------------------------------


def test_process_exec(play: Play) -> None:
    """Another program under the same pid; nothing after exec is carried out."""
    events = play("process-exec")
    (before,), (after,) = told(events, "before exec"), told(events, "after exec")
    assert before["pid"] == after["data"]["child"] == after["data"]["said"] != after["pid"]
    assert before["data"]["program"].startswith("python")
    assert not after["data"]["program"].startswith("python")
    assert told(events, "this line comes after exec") == []
    assert told(events, "sh has ended", "code") == [0]


@pytest.mark.parametrize(("workers", "threads"), [("2", "3"), ("3", "1")])
def test_process_threads(play_made: Play, workers: str, threads: str) -> None:
    """P pids, P x T threads, all of them at once by their native ids; a list is shared within a process only."""
    events = play_made("process-threads", "--workers", workers, "--threads", threads)
    speaking = told(events, "I am thread")
    assert len({one["pid"] for one in speaking}) == int(workers)
    assert len({(one["pid"], one["data"]["native"]) for one in speaking}) == int(workers) * int(threads)
    assert told(events, "my threads", "count") == [int(threads)] * int(workers)
    assert told(events, "my own list", "count") == [0]


def test_process_crash(play_made: Play) -> None:
    """One of three ends by SIGSEGV, and the other two go on after that."""
    events = play_made("process-crash")
    (crashed,) = told(events, "number 2 has ended")
    assert crashed["data"]["code"] == -signal.SIGSEGV
    others = told(events, "number {number} goes on")
    assert sorted(one["data"]["number"] for one in others) == [1, 3]
    assert all(one["at"] > crashed["at"] for one in others)
    assert told(events, "they have ended", "codes") == [[0, -signal.SIGSEGV, 0]]


def test_threads_that_crash(play_made: Play) -> None:
    """The same as threads: three begin, and none ends."""
    events = play_made("process-crash", "--broken")
    assert sorted(told(events, "number {number} works", "number")) == [1, 2, 3]
    assert told(events, "number {number} goes on") == []
    assert told(events, "the process of all three", "code") == [-signal.SIGSEGV]


def test_process_guard(play: Play) -> None:
    """Once under fork, by the child, too, under the others; the guarded part runs only in __main__."""
    events = play("process-guard")
    imported = {one["data"]["method"]: one["data"]["names"] for one in told(events, "{method}: imported")}
    assert imported["fork"] == ["__main__"]
    assert imported["spawn"] == ["__main__", "__mp_main__"]
    assert imported["forkserver"][0] == "__main__"
    assert "__mp_main__" in imported["forkserver"]
    assert told(events, "{method}: {line}", "line") == ["the child works", "the child ended with 0"] * 3


def test_a_missing_guard(play: Play) -> None:
    """The child imports the program, is refused a child of its own, and does no work."""
    events = play("process-guard", "--broken")
    assert told(events, "{method}: imported", "names") == [["__main__", "__mp_main__"]]
    assert told(events, "{method}: {line}", "line") == ["the child ended with 1"]
    (error,) = told(events, "{method}: RuntimeError", "error")
    assert error.startswith("An attempt has been made to start a new process")


# -- pools ---------------------------------------------------------------------------------------------------------------


def test_future_states(play: Play) -> None:
    """Each state, and what cancel and result do in it."""
    events = play("future-states")
    states = [(one["data"]["name"], one["data"]["state"]) for one in told(events, "{when} {name} is")]
    assert states[:3] == [("good", "running"), ("bad", "pending"), ("late", "pending")]
    assert told(events, "cancel", "done") == [False, True]
    assert states[3:] == [("good", "done"), ("bad", "failed"), ("late", "cancelled")]
    assert told(events, "{name} begins", "name") == ["good", "bad"]
    assert told(events, "{name}.result() gives", "given") == ["result of good"]
    assert told(events, "{name}.result() raises", "error") == ["ValueError('no good')", "CancelledError()"]


# -- talking -------------------------------------------------------------------------------------------------------------


def test_talk_ways(play_made: Play) -> None:
    """Three ways, three children, and the bytes of each arrive in the parent."""
    events = play_made("talk-ways")
    sent, received = told(events, "{way} takes"), told(events, "{way} brings")
    assert [one["data"] for one in sent] == [one["data"] for one in received]
    assert [one["data"]["way"] for one in received] == ["socketpair", "TCP", "mmap"]
    assert len({one["data"]["digest"] for one in received}) == len({one["pid"] for one in sent}) == 3
    assert len({one["pid"] for one in received}) == 1


def test_talk_timeouts(play_made: Play) -> None:
    """What each gives, and that none comes back before its time."""
    events = play_made("talk-timeouts")
    given: dict[str, list[str]] = {}
    for one in told(events, "{call"):
        given.setdefault(one["data"]["gave"], []).append(one["data"]["call"])
        assert one["data"]["waited"] > 0.9 * one["data"]["limit"] > 0
    assert given == {
        "gives None": ["Process.join", "Thread.join", "AsyncResult.wait"],
        "gives False": ["Connection.poll", "Event.wait", "Lock.acquire", "Condition.wait", "Semaphore.acquire"],
        "gives 1": ["futures.wait, undone"],
        "gives ([], [], [])": ["select.select"],
        "raises Empty": ["Queue.get, processes", "Queue.get, threads"],
        "raises Full": ["Queue.put, threads"],
        "raises BrokenBarrierError": ["Barrier.wait"],
        "raises TimeoutError": ["Future.result", "asyncio.wait_for", "socket.recv"],
        "raises another TimeoutError": ["AsyncResult.get"],
        "raises TimeoutExpired": ["subprocess.run"],
    }


def test_talk_pickling(play_made: Play) -> None:
    """Only what a Queue was given is changed on its way."""
    events = play_made("talk-pickling")
    assert {one["data"]["way"]: one["data"]["message"] for one in told(events, "{way}: it arrives")} == {
        "Pipe": ["salad"],
        "SimpleQueue": ["salad"],
        "Queue": ["salad", "bread"],
        "Queue (copy)": ["salad"],
    }
    assert {one["process"] for one in told(events, "{way}: it arrives")} == {"reader"}


def test_what_cannot_be_pickled(play_made: Play) -> None:
    """put does not mind, and the reader never hears of it; send does."""
    events = play_made("talk-pickling", "--broken")
    assert told(events, "put({name})", "name") == ["salad", "a lambda", "dessert"]
    assert told(events, "gets", "item") == ["salad", "dessert"]
    assert told(events, "Pipe.send", "error")[0] in ("AttributeError", "PicklingError")


@pytest.mark.parametrize("workers", ["2", "3"])
def test_queue_ends(play_made: Play, workers: str) -> None:
    """Each way: four dishes, and every dryer leaves by itself."""
    events = play_made("queue-ends", "--workers", workers)
    ends = told(events, "{way}: all have left")
    assert [one["data"] for one in ends] == [{"way": way, "empty": True} for way in WAYS]
    dried = [one["data"]["dish"] for _, _, one in spans(events, "dries")]
    assert sorted(dried) == sorted(["salad", "bread", "entree", "dessert"] * len(WAYS))
    for way in WAYS:
        assert len({one["pid"] for one in told(events, f"leaves: {way}")}) == int(workers)


def test_one_sentinel_for_two(play_made: Play) -> None:
    """All is dried, one leaves, one waits."""
    events = play_made("queue-ends", "--broken")
    assert len(spans(events, "dries")) == 4
    assert len(told(events, "leaves: sentinel")) == 1
    assert told(events, "still waiting")[0]["data"] == {"waiting": 1, "dryers": 2}


# -- examples ------------------------------------------------------------------------------------------------------------


def test_costs(play_made: Play) -> None:
    """Every kind in three measures, all of one kind at the same time; the memory in its order."""
    events = play_made("costs", "--count", "1000", "--processes", "10")
    kinds = ["process", "thread", "greenlet", "task"]
    numbers = {one["data"]["kind"]: one["data"]["number"] for one in told(events, "{kind}: made")}
    assert list(numbers) == kinds
    assert numbers["process"] == 10
    assert numbers["greenlet"] == numbers["task"] == 1000
    value = {(one["data"]["what"], one["data"]["kind"]): one["data"]["value"] for one in told(events, "{what")}
    assert len(value) == 3 * len(kinds)
    assert all(value.values())
    held = [value["holding", kind] for kind in kinds]
    assert held == sorted(held, reverse=True)


# -- threads -------------------------------------------------------------------------------------------------------------


def test_thread_stop(play: Play) -> None:
    """It ends after it was asked to, and not before; a thread has no method for it."""
    events = play("thread-stop")
    assert told(events, "to end it", "methods") == [["terminate", "kill"], []]
    assert told(events, "join({limit})", "alive") == [True]
    (asked,) = told(events, "was asked to stop")
    assert all(one["at"] < asked["at"] for one in told(events, "counts"))
    assert told(events, "the event is set", "alive") == [False]


def test_a_thread_that_never_looks(play: Play) -> None:
    """It waits for a task, and goes on waiting when it should stop."""
    events = play("thread-stop", "--broken")
    assert len(told(events, "waits for a task")) == 1
    assert told(events, "the event is set", "alive") == [True]


def test_lock_order(play: Play) -> None:
    """Two threads, three moves each, always the same lock first; nothing is lost."""
    events = play("lock-order")
    wanted = told(events, "has locked {first}")
    assert {(one["data"]["first"], one["data"]["second"]) for one in wanted} == {("Ada", "Bob")}
    assert {one["thread"] for one in wanted} == {"Ada to Bob", "Bob to Ada"}
    assert len(told(events, "has locked both")) == 6
    assert told(events, "Ada has")[0]["data"] == {"ada": 100, "bob": 100}


def test_a_deadlock(play: Play) -> None:
    """Each has one lock, none gets both."""
    events = play("lock-order", "--broken")
    wanted = {(one["data"]["first"], one["data"]["second"]) for one in told(events, "has locked {first}")}
    assert wanted == {("Ada", "Bob"), ("Bob", "Ada")}
    assert told(events, "has locked both") == []
    assert told(events, "still waiting", "stuck") == [2]


@pytest.mark.parametrize(("options", "got"), [([], True), (["--broken"], False)])
def test_lock_release(play: Play, options: list[str], got: bool) -> None:
    """After an error the next one gets the lock if it was taken by with, and not otherwise."""
    events = play("lock-release", *options)
    (failed,) = told(events, "was told")
    (end,) = told(events, "the next one gets")
    assert failed["at"] < end["at"]
    assert end["data"]["got"] is got


def test_lock_again(play: Play) -> None:
    """A Lock once; an RLock twice, and free for others when it was released as often."""
    events = play("lock-again")
    assert told(events, "I have the Lock", "again") == [False]
    assert told(events, "I have the RLock", "again") == [True]
    assert told(events, "{step}: I get", "got") == [False, True]


@pytest.mark.parametrize("workers", ["1", "4"])
def test_thread_ids(play: Play, workers: str) -> None:
    """The kernel's list has the native ids and the pid; idents are used again, native ids are not."""
    events = play("thread-ids", "--workers", workers)
    (tasks,) = told(events, "/proc/self/task")
    assert sorted(told(events, "ident", "native")) == [one for one in tasks["data"]["tasks"] if one != tasks["pid"]]
    assert len(told(events, "ident")) == int(workers)
    (later,) = told(events, "100 one by one")
    assert later["data"]["idents"] < later["data"]["natives"]


# -- events --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["gevent", "asyncio"])
@pytest.mark.parametrize("broken", [False, True])
def test_loop_hog(play: Play, via: str, broken: bool) -> None:
    """A heart that beats while the work is in a thread, and does not while the work is in its own; it is one thread all the time."""
    events = play("loop-hog", "--via", via, *["--broken"][:broken])
    beats, works = told(events, "beats"), spans(events, "another")
    assert [one["data"]["name"] for _, _, one in works] == ["computes", "calls time.sleep"]
    for begin, end, _ in works:
        assert any(begin < one["at"] < end for one in beats) is not broken
    assert {one["task"] for one in beats} == {"heart"}
    assert len({one["thread"] for one in beats}) == 1
    assert at_once(works) == 1
