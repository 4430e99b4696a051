"""The tour around its scenes: the table of contents, the narration, the timeline, the verdicts that can fail, the cleaning up."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from conftest import HERE, Cli, wait_for
from manyhands.core.extras import install_line
from manyhands.options.declaration import declared_in
from manyhands.options.tour import TopicOptions
from manyhands.tour.contents import SCENES, TOPICS
from manyhands.tour.handlers import show_list
from manyhands.tour.narrating import bars, fitting, trace
from manyhands.tour.pasting import program_of
from manyhands.tour.scene_tools import doing, tell
from manyhands.tour.scenes.spinner import spinner_seen
from manyhands.tour.seen import Event, NotSeen, Seen, Span, expect, most_at_once
from manyhands.tour.showing import why_not

TESTED = [import_module(f"tour.{path.stem}") for path in sorted(Path(__file__).parent.glob("test_scenes*.py"))]

# -- the table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_has_a_test_and_a_verdict(name: str) -> None:
    """A test of its own, a function that plays it, one that judges it, and both again if it can be broken."""
    scene = SCENES[name]
    assert any(hasattr(module, "test_" + name.replace("-", "_")) for module in TESTED)
    for broken in (False, True)[: 1 + bool(scene.broken)]:
        assert scene.function(broken=broken).__doc__
        assert callable(scene.function(broken=broken, seen=True))


@pytest.mark.parametrize("name", SCENES)
def test_a_verdict_is_not_given_for_nothing(name: str) -> None:
    """Where nothing was told, nothing was seen."""
    scene = SCENES[name]
    options = {key: value[0] if isinstance(value, tuple) else value for key, value in scene.options.items()}
    for broken in (False, True)[: 1 + bool(scene.broken)]:
        with pytest.raises(NotSeen):
            scene.function(broken=broken, seen=True)(Seen([], options))


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_short(name: str) -> None:
    """What a learner reads is at most 30 lines a function, and begins with what it shows."""
    source = program_of(SCENES[name], broken=False)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert all((one.end_lineno or 0) - one.lineno < 30 for one in functions)
    assert "_seen" not in source


def test_topics_are_told_apart() -> None:
    """The scenes of a topic stand together, and the option names all of them."""
    order = [scene.topic for scene in SCENES.values()]
    assert [one for n, one in enumerate(order) if n == 0 or order[n - 1] != one] == TOPICS
    help_ = {one.name: one.said.help for one in declared_in(TopicOptions)}["topic"]
    assert all(topic in help_ for topic in TOPICS)


# -- the questions of a verdict ------------------------------------------------------------------------------------------


def event(kind: str, at: float, text: str = "works", actor: str = "MainThread", **data: Any) -> Event:
    """One made by hand."""
    return Event(kind, at, 1, "MainProcess", actor, None, text, data)


def test_spans_are_told_apart() -> None:
    """By who, what and with what; one that never ended is none; they come in the order of their beginnings."""
    seen = Seen(
        [
            event("begin", 0, n=1),
            event("begin", 1, n=2),
            event("end", 2, n=1),
            event("end", 3, n=2),
            event("begin", 4, n=3),
            event("begin", 0.5, actor="other", n=1),
            event("end", 2.5, actor="other", n=1),
        ],
        {},
    )
    assert [(one.begin, one.end, one.event.actor) for one in seen.spans("works")] == [
        (0, 2, "MainProcess"),
        (0.5, 2.5, "other"),
        (1, 3, "MainProcess"),
    ]
    assert most_at_once(seen.spans("works")) == 3
    assert most_at_once([]) == 0


def test_what_ends_as_another_begins_is_not_at_once() -> None:
    """At the same moment the one has ended."""
    first, second = (Span(event("begin", n), n, n + 1) for n in (0, 1))
    assert most_at_once([first, second]) == 1


def test_one_means_one() -> None:
    """Twice is not once, and says so."""
    seen = Seen([event("tell", 0, "hello {n}", n=1), event("tell", 1, "hello {n}", n=2)], {})
    with pytest.raises(NotSeen, match="was told 2 times, not once"):
        seen.one("hello")
    assert seen.data("hello", "n") == [1, 2]
    with pytest.raises(NotSeen, match="no such luck"):
        expect(0, "no such luck")


@pytest.mark.parametrize("busy", [True, False])
def test_what_rests_on_times_is_qualified_on_a_busy_machine(busy: bool) -> None:
    """Two seconds for one of work say nothing of a GIL if others had the CPUs."""
    found = Seen([], {}, busy=busy).timed("it took 2 s")
    assert (
        found
        == "it took 2 s"
        + "; but the machine was busy with other work: waiting may have been for a CPU, so play it again when it is calm"
        * busy
    )


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize(("frames", "right"), [(0, False), (1, False), (2, False), (12, True), (30, True), (40, False)])
def test_a_spinner_that_does_not_turn_is_not_seen(busy: bool, frames: int, right: bool) -> None:
    """On a busy machine, too: that nothing could be seen is no reason to say that it was."""
    told = [
        event("begin", 0, "a slow call"),
        event("end", 3, "a slow call"),
        event("tell", 4, "the spinner has turned; frames: {frames}", frames=frames),
        event("tell", 4, "Answer: {answer}", answer=42),
    ]
    seen = Seen(told, {"via": "thread"}, busy=busy)
    if right:
        assert f"{frames} frames while a call took 3.00 s" in spinner_seen(seen)
    else:
        with pytest.raises(NotSeen, match=f"{frames} frames in 3.00 s"):
            spinner_seen(seen)


# -- what is drawn -------------------------------------------------------------------------------------------------------


def test_bars_are_as_long_as_what_they_show() -> None:
    """Beginning to the nearest column, end to an eighth; something that took no time is seen, too."""
    spans = [Span(event("begin", 0), 0.0, 1.0), Span(event("begin", 0), 2.0, 3.25), Span(event("begin", 0), 9.0, 9.0)]
    assert bars(spans, 10.0, 20) == "██  ██▌           ▏"
    assert len(bars([Span(event("begin", 0), 9.99, 10.0)], 10.0, 20)) <= 20


def test_names_fit_their_column() -> None:
    """What is cut out is in the middle, because names end in numbers."""
    assert fitting("dryer 1", 12) == "dryer 1     "
    assert fitting("ThreadPoolExecutor-0_1", 12) == "Thread…r-0_1"


def test_a_trace_is_what_chrome_reads() -> None:
    """Spans with microseconds, moments, and the names of processes and threads."""
    seen = Seen([event("begin", 1, "works {n}", n=1), event("end", 3, "works {n}", n=1), event("tell", 2, "hello")], {})
    found = trace(seen)["traceEvents"]
    assert {"ph": "X", "name": "works 1", "ts": 1e6, "dur": 2e6, "pid": 1, "tid": 1, "args": {"n": 1}} in found
    assert [one["name"] for one in found if one["ph"] == "M"] == ["process_name", "thread_name"]
    assert [one["name"] for one in found if one["ph"] == "i"] == ["hello"]


def test_a_scene_that_nobody_watches_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """So that it can be tried in a session of Python."""
    tell("hello {name}", name="you")
    with doing("works"):
        pass
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["hello you", "works"]


# -- at the command line -------------------------------------------------------------------------------------------------


def test_a_scene_is_told_and_judged(cli: Cli) -> None:
    """Title, a line for each event, the verdict; no colours in a pipe."""
    done = cli("tour.talk-duplex")
    assert done.returncode == 0
    title, *lines, verdict = done.stdout.splitlines()
    assert title == "talk-duplex: A pipe with two ends: hello, and hello, too"
    assert all(re.fullmatch(r" +\d+\.\d{3} s +\d+ (MainProcess|Process-1) +\S.*", line) for line in lines)
    assert verdict.startswith("seen: ")
    assert "\x1b" not in done.stdout


def test_the_timeline_and_the_trace(cli: Cli, tmp_path: Path) -> None:
    """A lane for each who did something for a while, and a file that can be loaded."""
    done = cli(
        "tour.dishes",
        "--via",
        "thread",
        "--scale",
        "0.1",
        "--dishes",
        "4",
        "--timeline",
        "--trace",
        str(tmp_path / "t.json"),
    )
    assert done.returncode == 0
    washer, *dryers = [line.split()[1] for line in done.stdout.splitlines() if "█" in line]
    assert (washer, set(dryers)) == ("washer", {"dryer"})  # on a busy machine one of the three may get nothing to do
    found = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert sum(one["ph"] == "X" for one in found) == 8


def test_the_source_is_the_scene_itself(cli: Cli) -> None:
    """The function and what it calls, as it stands in the file, and what to use in production; plain in a pipe."""
    done = cli("tour.talk-duplex", "--source")
    assert "def answer(" in done.stdout
    assert "def talk_duplex(" in done.stdout
    assert "# in production: " in done.stdout
    assert "\x1b" not in done.stdout
    compile(done.stdout, "source", "exec")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["tour.pool-size", "--workers", "0"], "--workers 0: expected 1 to 64"),
        (["tour.pool-size", "--scale", "0"], "--scale 0"),
        (["tour.pool-size", "--via", "thread"], "via"),
        (["tour.dishes", "--via", "magic"], "expected one of process, thread, asyncio, gevent"),
        (["tour.dishes", "--via", "thread", "--drunk-dryer"], "only a process can be killed"),
        (["tour.dishes", "--way", "line", "--drunk-dryer"], "it takes its dishes from a rack"),
        (["tour.primes", "x"], "expected whole numbers"),
        (["tour.dishes", "--drunk-dryer", "--dryers", "1"], "at least 2 dryers"),
        (["tour.dishes", "--wash", "-1"], "--wash -1"),
        (["tour.primes", "1" + "0" * 30], "expected whole numbers below"),
        (["tour.all", "--topic", "nothing"], "--topic 'nothing'"),
        (["tour.costs", "--count", "10"], "--count 10: expected at least 500"),
        (["tour.resolve", "a..b"], "'a..b' cannot be the name"),
        (["tour.all", "--scale", "-1"], "--scale -1"),
        (["tour.compare", "--sample", "0"], "--sample 0"),
        (
            ["tour.compare", "--output", "x.txt"],
            "--output x.txt: expected a name that ends with .html, .svg, .png or .md",
        ),
        (["tour.pool-size", "--output", "no/t.html"], "--output no/t.html: there is no such folder"),
        (["tour.pool-size", "--output", "t.html", "--source"], "--output has no effect with --source"),
        (["tour.pool-size", "--open"], "--open has no effect without --output"),
        (["tour.pool-size", "--trace", "no/t.json"], "--trace no/t.json"),
        (["tour.pool-size", "--timeline", "--json"], "--timeline is for people"),
    ],
)
def test_mistakes_are_told(cli: Cli, options: list[str], said: str) -> None:
    """One line, exit 2."""
    done = cli(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_all_of_a_topic(cli: Cli) -> None:
    """A table of verdicts, and the sum."""
    done = cli("tour.all", "--topic", "sharing", "--scale", "0.1")
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["share-memory", "seen"],
        ["share-manager", "seen"],
        ["share-locks", "seen"],
        ["3", "scenes:"],
    ]
    lines = [
        json.loads(line)
        for line in cli("tour.check", "--topic", "sharing", "--scale", "0.1", "--json").stdout.splitlines()
    ]
    assert [(line["scene"], line["status"]) for line in lines] == [
        ("share-memory", 0),
        ("share-manager", 0),
        ("share-locks", 0),
    ]


def test_what_is_not_possible_is_skipped(cli: Cli) -> None:
    """With the reason, and without failing."""
    done = cli("tour.process-zombie", "--start-method", "forkserver")
    assert done.returncode == 3
    assert "not possible here: the fork server is the parent" in done.stdout


def test_a_package_that_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra to install."""
    monkeypatch.setattr("manyhands.tour.showing.find_spec", lambda _: None)
    assert why_not(SCENES["knock"], {}) == f"it needs twisted, which is not installed: {install_line('tour')}"
    monkeypatch.delattr(os, "fork")
    assert why_not(SCENES["process-fork"], {}) == "this system has no fork"


def test_a_way_whose_package_lacks_is_skipped(environment: dict[str, str], tmp_path: Path) -> None:
    """Not only whole scenes: one of several ways may need something, too."""
    (tmp_path / "gevent.py").write_text("raise ModuleNotFoundError('no', name='gevent')\n")
    env = environment | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{environment['PYTHONPATH']}"}
    argv = [sys.executable, "-m", "manyhands", "tour.dishes", "--via", "gevent"]
    done = subprocess.run(argv, cwd=HERE, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout
    assert (
        done.stdout.splitlines()[-1]
        == f"not possible here: it needs gevent, which is not installed: {install_line('tour')}"
    )


def test_the_list_says_once_how_to_install_what_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At its end; beside a scene, only what it needs."""
    monkeypatch.setattr("manyhands.tour.showing.find_spec", lambda _: None)
    show_list(TopicOptions(topic="events"))
    out = capsys.readouterr().out
    assert out.count(install_line("tour")) == 1
    assert out.endswith(f"to play them all: {install_line('tour')}\n")
    assert "— it needs twisted, which is not installed\n" in out


def test_the_list_reads_as_a_table_of_contents(cli: Cli) -> None:
    """Topics as headings, every scene under its own."""
    lines = cli("tour.list").stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == TOPICS
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(SCENES)
    found = [json.loads(line) for line in cli("tour.list", "--json", "--topic", "talking").stdout.splitlines()]
    assert found[0]["scene"] == "talk-duplex"
    assert found[0]["possible"] is True


@pytest.mark.slow
@pytest.mark.parametrize("work", ["cpu", "io"])
def test_compare_has_every_way(cli: Cli, work: str) -> None:
    """Serial, threads, processes and asyncio at least, and a sentence."""
    done = cli("tour.compare", "--work", work, "--sample", "4", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"serial", "threads", "processes", "asyncio"} <= {line["backend"] for line in lines[:-1]}
    assert not any(line["failed"] or line["error"] for line in lines[:-1])
    assert lines[-1]["advice"]


# -- what is left --------------------------------------------------------------------------------------------------------


def ours(marked: str) -> list[int]:
    """The processes whose environment holds this."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marked.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "name",
    ["dishes", "pool-size", "process-daemon", "talk-queue", "asyncio-timeouts", "resolve", "remote", "cluster", "web"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_leaves_nothing(
    name: str, number: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    """Ctrl-C in the middle: no process, no file; and the program ends by that signal."""
    (tmp_path / "tmp").mkdir()
    env = environment | {"TMPDIR": str(tmp_path / "tmp")}
    argv = [sys.executable, "-m", "manyhands", f"tour.{name}", "--scale", "5"]
    program = subprocess.Popen(argv, cwd=HERE, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout and program.stderr
    with program.stdout, program.stderr:
        for _ in range(2):
            program.stdout.readline()
        time.sleep(0.3)
        program.send_signal(number)
        program.wait(20)
        assert program.returncode == -number
        wait_for(lambda: not ours(str(tmp_path / "tmp")))
        assert not list((tmp_path / "tmp").iterdir())
        assert program.stderr.read() == b""


@pytest.mark.parametrize("task", ["tour.dishes", "tour.all", "tour.dishes --json", "tour.list", "tour.dishes --source"])
def test_whoever_stops_reading_ends_it(task: str, environment: dict[str, str]) -> None:
    """As a program that SIGPIPE has ended, without a word, and with everything that it has started."""
    line = f"{sys.executable} -m manyhands {task} | head -1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout in ("141\n", "0\n" if task in ("tour.list", "tour.dishes --source") else "141\n")


HANGS = """
from manyhands.posix import linux
from manyhands.tour import showing
from manyhands.tour.contents import SCENES
import os
showing._LIMIT = 1.0
done = showing.perform(SCENES["process-terminate"], {"start_method": "fork", "scale": 2.0}, lambda _: None)
print(done.status, done.verdict, [one.pid for one in linux.descendants([os.getpid()])])
"""


def test_a_scene_that_hangs_is_ended(environment: dict[str, str]) -> None:
    """After its time, with everything that it has started, and that is what is told."""
    done = subprocess.run([sys.executable, "-c", HANGS], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1 it did not end in time []\n"


def test_on_a_terminal_there_are_colours_and_a_spinner(environment: dict[str, str]) -> None:
    """The frames overwrite each other, the lines begin at the left; NO_COLOR takes the colours away."""
    for colours in (True, False):
        env = {**environment, "TERM": "xterm-256color", "COLUMNS": "80"} | ({} if colours else {"NO_COLOR": "1"})
        env.pop("CI", None)
        ours_, theirs = pty.openpty()
        argv = [sys.executable, "-m", "manyhands", "tour.spinner", "--scale", "0.2"]
        program = subprocess.Popen(argv, cwd=HERE, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        while True:
            try:
                block = os.read(ours_, 4096)
            except OSError:
                break
            if not block:
                break
            shown += block
        os.close(ours_)
        assert program.wait(20) == 0
        assert shown.count(b"thinking!") >= 2
        assert (b"\x1b[36m" in shown) == colours
        assert all(line.startswith((b"\r", b"\x1b", b"spinner:", b"seen")) for line in shown.split(b"\r\n") if line)


# -- a busy machine ------------------------------------------------------------------------------------------------------


BUSY = """
import sys
from manyhands.options.tour import AllScenesOptions
from manyhands.tour import handlers, showing
from manyhands.tour.contents import SCENES
from manyhands.tour.scenes import processes
from manyhands.tour.seen import expect
processes.process_fork_seen = lambda _: expect(False, "they did not overlap")
showing.Crowding.measured = lambda _: float(sys.argv[1])
handlers.chosen = lambda _: [SCENES["process-fork"]]
print(handlers.show("process-fork", {"scale": 1.0}))
print(handlers.show("process-fork", {"scale": 1.0, "json": True}))
print(handlers.show_all(AllScenesOptions()))
"""


@pytest.mark.parametrize(
    ("others", "statuses", "reason", "word"), [(0.5, "330", "busy", "busy"), (0.0, "111", None, "NOT SEEN")]
)
def test_what_is_not_seen_on_a_busy_machine_is_told_as_such(
    others: float, statuses: str, reason: str | None, word: str, environment: dict[str, str]
) -> None:
    """Exit 3 with the reason, where a calm machine gives a 1; never a 0."""
    command = [sys.executable, "-c", BUSY, str(others)]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "".join(line for line in lines if line.isdigit()) == statuses
    busy = "the machine was busy (other programs used 50% of it): " if reason else ""
    assert f"not seen: {busy}they did not overlap" in lines
    (verdict,) = (json.loads(line) for line in lines if '"event": "verdict"' in line)
    assert (verdict["reason"], verdict["verdict"]) == (reason, f"{busy}they did not overlap")
    assert lines[-2] == f"1 scene: 0 seen, 1 {word.lower()}"


def test_a_mistake_says_that_it_is_one(cli: Cli) -> None:
    """In its first line, with a title of its own; another way, which cannot make it, is refused."""
    done = cli("tour.spinner", "--broken", "--scale", "0.05")
    assert done.stdout.splitlines()[0] == f"spinner --broken: this is the mistake. {SCENES['spinner'].broken}"
    assert "Task-1" in done.stdout
    assert cli("tour.spinner", "--broken", "--via", "process").returncode == 2
