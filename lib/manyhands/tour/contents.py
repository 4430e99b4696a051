"""The table of contents: every scene, what it shows, what it can be asked, and what it needs. Plain data, quick to import."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from manyhands.core.lean import NamedTuple

METHODS: Final = ("fork", "spawn", "forkserver")

OPTIONS: Final = {
    "scale": "multiply all waiting times by this (default: 1)",
    "workers": "how many at once",
    "via": "how they run",
    "start_method": "how processes are made",
    "server": "redis-server, or fakeredis, which needs no server",
    "broken": "show the mistake instead: how it fails without what the scene is about",
    "timeline": "draw what ran when, one lane for each process, thread or task",
    "trace": "write what ran when to this file, for Perfetto or chrome://tracing",
    "source": "print the scene's own code instead of playing it",
    "json": "JSON lines instead of text",
}
"""What options mean, the same in all scenes; `Scene.help` has what is special to one."""
PROGRAMS: Final = {
    "redis-server": "redis-server",
    "rabbitmq-server": "rabbitmq-server",
    "nginx": "nginx-light",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
}
"""Programs that scenes need, and the Debian package that brings each."""
METAVARS: Final = {"trace": "FILE"}
"""What stands for the value of those whose name or type does not say it."""


class Scene(NamedTuple):
    """One scene. ``rows`` are its numbers in the catalogue of scenes; ``options`` are defaults, a tuple for a choice, the first of
    which is the default; ``instead`` is what does the job in production."""

    name: str
    topic: str
    rows: tuple[str, ...]
    title: str
    instead: str
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    help: dict[str, str] = {}  # noqa: RUF012 - never changed
    needs: tuple[str, ...] = ()
    """Packages, programs of `PROGRAMS`, or "fork"; ``needs_by``: what it needs only if an option has this value."""
    broken: str = ""
    """The title of the mistake that ``--broken`` shows."""
    module: str = ""
    """Where it is, if not in the module of its topic; ``verdict`` says the same of the verdict."""
    verdict: str = ""
    folder: bool = False
    """Whether it plays in an empty folder of its own."""
    quick: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """What ``tour.all`` asks of it, to be done soon."""
    given: str | None = None
    """The option that takes what is typed without a name, as a list."""
    needs_by: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - never changed
    broken_with: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """Options with which alone the mistake can be made."""

    def function(self, *, broken: bool = False, seen: bool = False) -> Callable[..., Any]:
        """What plays it, or, if ``seen``, what computes the verdict."""
        name = self.name.replace("-", "_") + "_broken" * broken + "_seen" * seen
        module = (seen and self.verdict) or self.module or self.topic
        found: Callable[..., Any] = getattr(import_module(f"manyhands.tour.scenes.{module}"), name)
        return found


_SERVER: Final = ("real", "fake")
_REDIS: Final[dict[str, tuple[str, ...]]] = {"real": ("redis-server",), "fake": ("fakeredis",)}
_BROKERS: Final = {
    "redis": ("redis", "redis-server"),
    "rabbitmq": ("pika", "rabbitmq-server"),
    "zeromq": ("zmq",),
    "kafka": ("confluent_kafka",),
}

# Kept from the formatter: with one line for each argument, the table alone would be longer than a file may be.
_ALL: Final = [
    # -- processes: a program in several copies --------------------------------------------------------------------------
    Scene("process-fork", "processes", ("B1",), "os.fork is called once and returns twice", "manyhands fork-demo", needs=("fork",)),
    Scene(
        "process-names", "processes", ("B2",), "The main process and four others say who they are", "manyhands proc.tree",
        {"start_method": METHODS, "workers": 4},
    ),
    Scene(
        "process-terminate", "processes", ("B3",), "A process counts, until its parent loses patience and terminates it",
        "manyhands proc.stop", {"start_method": METHODS},
    ),
    Scene(
        "process-join", "processes", ("B4",), "With join the parent waits for its children; without it reaches its end at once",
        "run_batch(...), which waits for all", {"start_method": METHODS},
    ),
    Scene(
        "process-memory", "processes", ("B5",), "What a child changes stays in the child",
        "run_batch(..., initializer=...)", {"start_method": METHODS}, module="memory", verdict="processes",
    ),
    Scene(
        "process-zombie", "processes", ("B6",), "A child that has ended stays a zombie until its parent asks", "manyhands proc.zombies",
        {"start_method": METHODS}, broken="Nobody asks: whoever has ended stays as a zombie",
    ),
    Scene(
        "process-daemon", "processes", ("B7",), "A daemon process is ended when its parent ends", "run_batch(...), whose workers never outlive it",
        {"start_method": METHODS}, broken="A parent that is killed leaves its daemon behind",
    ),
    Scene(
        "process-random", "processes", ("B8",), "Three processes wait for a random time, and end in any order", "manyhands batch --no-keep-order",
        {"start_method": METHODS, "workers": 3},
    ),
    Scene("process-identity", "processes", ("B9",), "A process knows its number, folder, user and group", "manyhands host.identity"),
    Scene(
        "process-shell", "processes", ("A4",), "A list of arguments is safe, whatever a file is called", "manyhands batch 'ls -d {}'",
        broken="A line for a shell carries out what a file is called", folder=True,
    ),
    Scene(
        "process-exec", "processes", ("N1",), "fork, then exec: another program in the same process", "manyhands batch, which starts programs",
        needs=("fork",), module="programs",
    ),
    Scene(
        "process-threads", "processes", ("N2",), "Processes with threads in each: who shares memory with whom", "manyhands proc.tree",
        {"start_method": METHODS, "workers": 2, "threads": 3}, {"threads": "how many threads in each (default: 3)"}, module="programs",
    ),
    Scene(
        "process-crash", "processes", ("N7",), "A crash ends one process, and the others go on", "manyhands batch, where a crash is one failed job",
        {"start_method": METHODS}, broken="One thread crashes, and all threads are gone", module="programs",
    ),
    Scene(
        "process-guard", "processes", ("N9",), "How often a program is imported, and what the main guard is for", "manyhands batch.call",
        needs=("fork",), broken="Without the main guard the child cannot start", module="programs", folder=True,
    ),
    # -- pools: a few workers, many tasks --------------------------------------------------------------------------------
    Scene(
        "pool-async", "pools", ("C1",), "A pool as large as the machine does five tasks of random length", "run_batch(...)",
        {"start_method": METHODS},
    ),
    Scene(
        "pool-size", "pools", ("C2",), "Four tasks for three workers: the fourth begins when the first ends", "run_batch(..., jobs=3)",
        {"start_method": METHODS, "workers": 3, "tasks": 4}, {"tasks": "how many tasks of one second (default: 4)"},
    ),
    Scene(
        "pool-state", "pools", ("C3",), "A worker keeps its memory; what it begins with is settled at Pool()", "manyhands batch.call --initializer",
        {"start_method": METHODS, "workers": 3},
    ),
    Scene("pool-apply", "pools", ("C4",), "apply waits, apply_async does not", "run_batch(...)", {"start_method": METHODS}),
    Scene(
        "pool-threads", "pools", ("C5",), "A pool of threads: map, apply, and their async forms with callbacks",
        "run_batch(..., backend='threads')", broken="A callback with two arguments: nobody ever gets a result again",
    ),
    Scene(
        "futures", "pools", ("E7",), "Five tasks on so many workers of concurrent.futures, as threads or processes", "run_batch(...)",
        {"via": ("thread", "process"), "start_method": METHODS, "workers": 3, "tasks": 5}, {"tasks": "how many tasks of one second (default: 5)"},
    ),
    Scene(
        "futures-completed", "pools", ("E8",), "as_completed gives each result when it is there", "manyhands batch.call --no-keep-order",
        {"via": ("thread", "process"), "start_method": METHODS, "workers": 5},
    ),
    Scene(
        "future-states", "pools", ("N12",), "A future is pending, running, done, failed or cancelled", "Outcome.status",
        broken="Nobody asks for the result, and so nobody hears of the error",
    ),
    # -- talking: pipes and queues ---------------------------------------------------------------------------------------
    Scene("talk-duplex", "talking", ("D1",), "A pipe with two ends: hello, and hello, too", "run_batch(...)", {"start_method": METHODS}),
    Scene(
        "talk-oneway", "talking", ("D2",), "One-way pipes: five workers return what they have computed", "run_batch(...)",
        {"start_method": METHODS, "workers": 5},
    ),
    Scene(
        "talk-buffer", "talking", ("D3",), "A pipe keeps what is sent, until it is full", "manyhands pipe", {"start_method": METHODS}, broken="Both send before they receive, and wait for each other for ever",
    ),
    Scene(
        "talk-queue", "talking", ("D4",), "A queue from a writer to a reader, which is terminated, or told that there is no more",
        "run_batch(...)", {"start_method": METHODS}, broken="join before get: the child cannot end, and the parent waits for it",
    ),
    Scene(
        "talk-cards", "talking", ("D5",), "First in, first out; and who finds nothing, waits", "run_batch(...)",
        {"start_method": METHODS},
    ),
    Scene(
        "talk-cost", "talking", ("D6",), "There and back by Pipe, SimpleQueue and Queue", "map_batch(...), which sends many at once",
        {"start_method": METHODS, "messages": 5_000}, {"messages": "how many in each of four rounds (default: 5000)"}, quick={"messages": 500},
    ),
    Scene(
        "talk-ways", "talking", ("N3",), "The same bytes by a pair of sockets, by TCP, by a file in memory", "run_batch(...)",
        {"start_method": METHODS}, module="messages", folder=True,
    ),
    Scene(
        "talk-timeouts", "talking", ("N8",), "What each blocking call does when its time is up", "manyhands batch --timeout",
        {"start_method": METHODS}, module="timeouts",
    ),
    Scene(
        "talk-pickling", "talking", ("N10",), "When a message is copied: at send, or later", "run_batch(...), which pickles at once",
        {"start_method": METHODS}, broken="put succeeds, and what cannot be pickled is lost", module="messages",
    ),
    Scene(
        "queue-ends", "talking", ("N15",), "Four ways to end a queue: sentinel, count, event, idle time-out", "manyhands batch, which ends with its last job",
        {"start_method": METHODS, "workers": 2}, broken="One sentinel for several readers: the others wait for ever", module="messages",
    ),
    # -- sharing: memory, proxies, locks ---------------------------------------------------------------------------------
    Scene("share-memory", "sharing", ("D7",), "Value and Array: memory that two processes see", "Outcome.value", {"start_method": METHODS}),
    Scene(
        "share-manager", "sharing", ("D8",), "A manager shares any object, and takes its time", "Outcome.value", {"start_method": METHODS},
    ),
    Scene(
        "share-locks", "sharing", ("D9",), "Lock, Event, Semaphore and Condition, between processes or threads",
        "one writer: the engine's journal", {"via": ("process", "thread"), "start_method": METHODS}, broken="The same four without what guards them",
    ),
    # -- examples: the same work in several ways -------------------------------------------------------------------------
    Scene(
        "dishes", "examples", ("E1",), "Washing up with a rack, by one alone, in batches, or in a line", "manyhands batch --then",
        {
            "via": ("process", "thread", "asyncio", "gevent"), "way": ("rack", "alone", "batch", "line"), "start_method": METHODS, "washers": 1, "dryers": 3,
            "dishes": 8, "wash": 0.2, "dry": 0.5, "put": 0.3, "queue_size": 0, "drunk_dryer": False,
        },
        {
            "washers": "number of washers (default: 1)", "dryers": "number of dryers (default: 3)", "dishes": "number of dishes (default: 8)",
            "way": "a rack between washers and dryers, one worker alone, in batches (all washed, then all dried, then put away), or a line of three",
            "put": "seconds to put a dish away, which is not done with a rack (default: 0.3)", "wash": "seconds to wash a dish (default: 0.2)", "dry": "seconds to dry a dish (default: 0.5)",
            "queue_size": "dishes that the rack holds; a washer waits while it is full (default: 0, no limit)",
            "drunk_dryer": "one dryer is killed in the middle of a dish (--via process only)",
        }, module="dishes",
    ),
    Scene(
        "spinner", "examples", ("E5",), "A spinner turns while a slow call keeps us waiting", "manyhands batch, with its display",
        {"via": ("thread", "process", "asyncio"), "start_method": METHODS}, module="spinner", broken="time.sleep in an event loop stops the spinner, too",
        broken_with={"via": "asyncio"},
    ),
    Scene(
        "primes", "examples", ("E6", "D10"), "Twenty numbers: one after another, then by workers with queues",
        "manyhands batch.call manyhands.tour.scenes.primes:is_prime --type int",
        {"numbers": [], "workers": 0, "via": ("process", "thread"), "method": ("trial", "miller-rabin"), "start_method": METHODS},
        {"numbers": "numbers to be checked (default: twenty up to 9999999999999999)", "workers": "how many at once (default: 0, one for each core)", "method": "trial division, or Miller-Rabin, which needs far fewer steps"},
        module="primes", given="numbers", quick={"numbers": ["2", "10000000019", "10000000033", "299593572317"]},
    ),
    Scene(
        "costs", "examples", ("N6",), "What a process, a thread, a greenlet and a task cost", "manyhands batch.compare",
        {"count": 10_000, "processes": 100, "start_method": METHODS},
        {"count": "how many threads, greenlets and tasks (default: 10000)", "processes": "how many processes (default: 100)"},
        ("gevent",), module="costs", quick={"count": 1_000, "processes": 20},
    ),
    # -- brokers: queues that are kept by a server ------------------------------------------------------------------------
    Scene(
        "redis-dishes", "brokers", ("E2",), "Washer and dryer are two programs, and the rack is a list in Redis",
        "manyhands batch --backend redis", {"server": _SERVER, "first": ("dryer", "washer"), "start_method": METHODS},
        {"first": "who begins"}, ("redis",), module="redis_dishes", needs_by=_REDIS,
    ),
    Scene(
        "redis-idle", "brokers", ("E3",), "Three dryers: one reads quit, the others leave when nothing comes any more",
        "manyhands queue.work", {"server": _SERVER, "dryers": 3, "idle": 20.0, "start_method": METHODS},
        {"dryers": "number of dryers (default: 3)", "idle": "seconds without a dish after which a dryer leaves (default: 20)"},
        ("redis",), module="redis_dishes", needs_by=_REDIS, quick={"idle": 5.0},
    ),
    Scene(
        "redis-ack", "brokers", ("E4", "N14"), "pending, processing, done: dryers are killed, and no dish is lost",
        "manyhands batch --backend redis", {"server": _SERVER, "dishes": 12, "start_method": METHODS},
        {"dishes": "number of dishes (default: 12)"}, ("redis",),
        "Fire and forget: what is called out while nobody listens is lost", module="redis_ack", needs_by=_REDIS,
    ),
    Scene(
        "redis-pressure", "brokers", ("E4",), "A quick washer waits until there is a place on the rack", "manyhands batch --then",
        {"server": _SERVER, "dishes": 20, "room": 3, "start_method": METHODS},
        {"dishes": "number of dishes (default: 20)", "room": "places on the rack (default: 3)"}, ("redis",),
        "Nobody tells the washer that the rack is full", module="redis_ack", needs_by=_REDIS,
    ),
    Scene(
        "brokers", "brokers", ("H2",), "The same jobs through four brokers, while a consumer is killed", "manyhands batch --backend redis, or amqp",
        {"via": ("all", *_BROKERS), "jobs": 1000, "start_method": METHODS},
        {"via": "which broker; Kafka is the mock of its client library", "jobs": "how many (default: 1000)"},
        broken="Without acknowledgements, jobs are lost", needs_by={**_BROKERS, "all": tuple(need for needs in _BROKERS.values() for need in needs)},
        quick={"via": "redis"},
    ),
    Scene(
        "task-queue", "brokers", ("H3",), "RQ or Celery: jobs, retries, a clock, a web request, more workers", "manyhands batch --backend rq, or celery",
        {"via": ("rq", "celery"), "start_method": ("spawn", "fork", "forkserver")}, needs=("redis", "redis-server"), module="task_queue",
        needs_by={"rq": ("rq",), "celery": ("celery",)},
    ),
    # -- threads ---------------------------------------------------------------------------------------------------------
    Scene(
        "thread-names", "threads", ("F1",), "The main thread and four others say who they are", "manyhands proc.show", {"workers": 4},
    ),
    Scene("thread-bank", "threads", ("F2",), "Two threads change one balance, with a lock", "run_batch(...): jobs share nothing", broken="Without the lock, changes are lost"),
    Scene("thread-sum", "threads", ("F3",), "Ten threads add their numbers under a lock", "sum(map_batch(...))"),
    Scene("thread-class", "threads", ("F4",), "A thread of a class of our own", "run_batch(..., backend='threads')"),
    Scene(
        "thread-local", "threads", ("F5",), "Three ways in which every thread sees a student of its own", "manyhands batch.call --initializer",
        broken="One name for all: each thread sees whoever was set last",
    ),
    Scene(
        "thread-fork", "threads", (), "A process is made beside threads: by spawn it works, by fork it may hang", "run_batch(...), which never forks beside threads",
        needs=("fork",), broken="fork copies a lock that is held, but not the thread that holds it",
    ),
    Scene(
        "gil", "threads", ("F6",), "What the GIL means for work that computes, and for work that waits", "manyhands batch.compare, and --backend auto",
        {"workers": 2, "start_method": METHODS}, module="gil",
    ),
    Scene(
        "thread-stop", "threads", ("N4",), "A thread cannot be terminated: it is asked to stop", "manyhands batch --timeout", module="locking",
        broken="A thread that waits without a limit never looks",
    ),
    Scene(
        "lock-order", "threads", ("N5",), "Two locks, always in the same order", "one writer: the engine's journal", module="locking",
        broken="Each has a lock that the other wants: a deadlock",
    ),
    Scene(
        "lock-release", "threads", ("N5",), "A lock is released, whatever happens", "one writer: the engine's journal", module="locking",
        broken="After an error nobody releases the lock",
    ),
    Scene("lock-again", "threads", ("N5",), "A Lock is taken once; an RLock by its thread as often as it likes", "one writer: the engine's journal", module="locking"),
    Scene(
        "thread-ids", "threads", ("N13",), "The numbers of a thread: the kernel's, and Python's", "manyhands proc.show", {"workers": 3}, module="locking",
    ),
    # -- coroutines ------------------------------------------------------------------------------------------------------
    Scene("coroutine-sum", "coroutines", ("G1",), "A generator keeps a running sum", "an async function for batch.call"),
    Scene(
        "coroutine-callbacks", "coroutines", ("G2",), "Two loops take turns, because their callback gives way", "an async function for batch.call",
        broken="A generator that is called and thrown away does nothing",
    ),
    Scene("asyncio-sleeps", "coroutines", ("G3",), "Two sleeps: blocking, one after another, as tasks, awaited bare", "run_batch(..., backend='asyncio')"),
    Scene("asyncio-timeouts", "coroutines", ("G4",), "wait_for cuts what takes too long, counted from the await", "manyhands batch --timeout"),
    Scene("asyncio-queue", "coroutines", ("G5",), "A producer and a consumer with a queue between them", "manyhands batch --then"),
    Scene("asyncio-getter", "coroutines", ("G6",), "Who gets before anybody puts, waits", "manyhands batch --from -"),
    # -- events ----------------------------------------------------------------------------------------------------------
    Scene(
        "resolve", "events", ("G7",), "gevent looks several names up at once; a dead one does no harm", "run_batch(..., backend='gevent')",
        {"hosts": [], "via": ("gevent", "patch-all", "patch-socket")},
        {"hosts": "names, which a server of the scene's own answers (default: quick, slow, slower and dead.test)", "via": "gevent's own socket, or the standard one, patched"},
        needs=("gevent", "dns"), given="hosts",
    ),
    Scene("eventlet-names", "events", ("G8",), "eventlet does the same", "run_batch(..., backend='gevent')", needs=("eventlet", "dns")),
    Scene(
        "knock", "events", ("G9",), "Knock, knock: a Twisted server and two clients", "a server; batch.call its clients", {"start_method": METHODS},
        needs=("twisted",),
    ),
    Scene(
        "actor", "events", ("G11",), "A thousand senders and an actor that counts", "one writer: the engine's journal", {"workers": 1000}, broken="Everybody changes the total at once: updates are lost",
    ),
    Scene(
        "loop-hog", "events", ("N11",), "What does not give way goes into a thread", "run_batch(..., backend='threads')", {"via": ("gevent", "asyncio")},
        broken="One that does not give way stops all others", module="hogs", needs_by={"gevent": ("gevent",)},
    ),
    Scene(
        "web", "events", ("G10", "N16"), "A quick page, while a slow one is made for ten visitors", "a handler that awaits a batch",
        {"via": ("threads", "tornado", "gunicorn", "nginx", "queue"), "start_method": METHODS},
        {"via": "a thread each, an event loop, two processes, these with nginx in front, or a queue of orders"},
        broken="A slow call in an event loop lets everybody wait", broken_with={"via": "tornado"}, module="web",
        needs_by={"tornado": ("tornado",), "gunicorn": ("gunicorn",), "nginx": ("gunicorn", "nginx")},
    ),
    # -- remote: programs on other hosts -----------------------------------------------------------------------------------
    Scene(
        "rpc", "remote", ("H1",), "An object that lives in a server is used over TCP as if it were here", "manyhands batch --on, or --backend redis",
        {"via": ("rpyc", "manager"), "start_method": METHODS}, {"via": "rpyc, or the manager of multiprocessing"},
        broken="No key, or too much allowed: a stranger makes the server call what he likes", module="rpc", needs_by={"rpyc": ("rpyc",)},
    ),
    Scene(
        "cluster", "remote", ("H4",), "The same batch here and on a Dask cluster; a worker is killed", "manyhands batch.call --backend dask",
        {"tasks": 8, "start_method": METHODS}, {"tasks": "how many numbers are checked (default: 8)"}, ("distributed",), module="cluster",
    ),
    Scene(
        "remote", "remote", ("H5",), "A command on another host, over a real sshd", "manyhands batch --on web1,web2", needs=("sshd", "ssh"), folder=True,
        broken="What ssh is given becomes one line for the shell there",
    ),
]  # fmt: skip

SCENES: Final = {scene.name: scene for scene in _ALL}
TOPICS: Final = list(dict.fromkeys(scene.topic for scene in _ALL))
