"""Words that cannot stand where they stand: what is said of them can be typed, or says nothing that is wrong."""

from __future__ import annotations

import re
import shlex

import pytest

from conftest import Cli, Said
from manyhands.cli import Program
from manyhands.cli.loaded_tasks import load_tasks
from manyhands.cli.mistakes import meant_task

INSTEAD = [
    ("batch 'echo {}' a b", "what is 'a'?", "manyhands batch 'echo {}' -- a b"),
    ("batch 'echo {}' a b -j 2", "what is 'a'?", "manyhands batch 'echo {}' -j 2 -- a b"),
    ("batch 'a b' 'a b' -- c", "what is 'a b'?", "manyhands batch 'a b' -- 'a b' c"),
    ("batch a a", "what is 'a'?", "manyhands batch a -- a"),
    ("batch.call os.path:basename x", "what is 'x'?", "manyhands batch.call os.path:basename -- x"),
    ("cmd.retry sh x.sh", "as one text, or as words after --", "manyhands cmd.retry -- sh x.sh"),
    ("cmd.retry --times 2 sh x.sh", "what is 'x.sh'?", "manyhands cmd.retry --times 2 -- sh x.sh"),
    ("check-output date -u", "no option -u", "manyhands check-output -- date -u"),
    ("getoutput date -u", "no option -u", "manyhands getoutput 'date -u'"),
    ("getoutput date -u --json", "no option -u", "manyhands getoutput 'date -u' --json"),
    ("getoutput ls -d -e x", "no option -d", "manyhands getoutput 'ls -d -e x'"),
    ("pipe ls -l", "no option -l", "manyhands pipe 'ls -l'"),
]


@pytest.mark.parametrize(("line", "why", "instead"), INSTEAD)
def test_a_word_that_is_misplaced_is_shown_in_its_place(line: str, why: str, instead: str, said: Said) -> None:
    """The whole command, as it can be typed."""
    status, text = said(*shlex.split(line))
    assert (status, text.endswith(f": {instead}"), why in text) == (2, True, True), text


@pytest.mark.parametrize(("line", "why", "instead"), INSTEAD)
def test_what_is_shown_is_understood(line: str, why: str, instead: str, said: Said) -> None:
    """Its words have a place now; only that a task cannot do it in a dry run is refused."""
    words = shlex.split(instead)[1:]
    at = words.index("--") if "--" in words else len(words)
    dry = ["--dry"] if not words[0].startswith("batch") else ["--nice=99"] if words[0] == "batch" else ["--chunk=x"]
    status, text = said(*words[:at], *dry, *words[at:])
    assert status == 2
    assert re.search("has no dry run|--nice 99|--chunk 'x'", text), text


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("batch.rm", ["batch.remove"]),
        ("batch.ls", ["batch.list"]),
        ("batch.shw", ["batch.show"]),
        ("resume", ["batch.resume"]),
        ("show", ["batch.show", "proc.show"]),
        ("cmd.resume", ["batch.resume"]),
        ("proc.kill", ["proc.stop"]),
        ("batc.show", ["batch.show"]),
        ("parallel", ["batch"]),
        ("batch.rn", ["batch.run"]),
        ("list", []),
        ("batch.zzz", []),
        ("top", ["proc.top"]),
        ("nope", []),
    ],
)
def test_a_task_that_may_have_been_meant_is_offered_or_none(word: str, meant: list[str]) -> None:
    """The same name elsewhere, the habits of other programs, a slip of the finger; never what only looks alike."""
    names = [
        "batch",
        "batch.run",
        "batch.call",
        "batch.resume",
        "batch.retry",
        "batch.list",
        "batch.show",
        "batch.remove",
        "cmd.retry",
        "proc.list",
        "proc.show",
        "proc.stop",
        "proc.top",
        "tour.list",
    ]
    assert meant_task(word, names) == meant


def test_where_nothing_is_near_the_list_is_named(said: Said) -> None:
    """Of the collection, if that is right."""
    assert said("batch.zzz")[1].endswith("there is no task batch.zzz; see manyhands --list batch")
    assert said("zzz")[1].endswith("there is no task zzz; see manyhands --list")
    assert said("proc.show", "1", "2")[1].endswith("proc.show takes no more arguments; see manyhands --list")
    assert said("batch", "x", "--zzz")[1].endswith("batch.run has no option --zzz; see manyhands --help batch.run")
    assert said("cmd.output")[1].endswith("cmd.output lacks its line; see manyhands --help cmd.output")


RUN_OPTIONS = [["-e"], ["--echo"], ["-T", "3"], ["--hide", "both"], ["-p"], ["-w"], ["--prompt-for-sudo-password"]]


@pytest.mark.parametrize("option", RUN_OPTIONS, ids=" ".join)
@pytest.mark.parametrize("task", [["host.time"], ["batch", "true"], ["tour.gil"]], ids=" ".join)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_option_that_would_be_ignored_is_refused_by_name(
    option: list[str], task: list[str], before: bool, said: Said
) -> None:
    """Before and after the task."""
    status, text = said(*option, *task) if before else said(*task, *option)
    assert status == 2
    assert option[0] in text
    assert f"has no effect on {'batch.run' if task[0] == 'batch' else task[0]}" in text


def test_every_task_of_ours_that_does_not_use_its_context_refuses(said: Said) -> None:
    """What it does is read from its signature, so no task can be forgotten; one that runs commands by invoke takes them."""
    from manyhands.cli.core_options import BY_CONTEXT, ignored_by

    collection = load_tasks().namespace
    program = Program(namespace=collection)
    program.run(["manyhands", "--version"], exit=False)
    core = program.args
    for name in BY_CONTEXT:
        core[name].set_value(True, cast=False)
    for name in collection.task_names:
        task = collection[name]
        refused = {one.name for one in ignored_by(task, core)}
        expected = (
            set()
            if name.startswith("dev.") and name != "dev.manual"  # they run their commands by invoke
            else set(BY_CONTEXT) - ({"dry"} if "dry_run" in task.kinds else set())
        )
        assert refused == expected, name


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["batch", "true", "--version"], "--version has to stand before the task: manyhands --version"),
        (["batch", "true", "-d"], "--debug has to stand before the task"),
        (["batch", "true", "-D", "2"], "--list-depth belongs to --list"),
        (["-F", "json", "host.time"], "--list-format belongs to --list"),
        (["--write-pyc", "host.time"], "--write-pyc has no effect"),
        (["host.time", "--", "x", "y"], "host.time takes nothing after --: x y"),
        (["host.time", "--"], "host.time takes nothing after --"),
    ],
)
def test_what_would_be_looked_at_too_late_or_never_is_refused(args: list[str], why: str, said: Said) -> None:
    """Also words after ``--`` for a task that takes none."""
    status, text = said(*args)
    assert (status, text.startswith(f"manyhands: {why}")) == (2, True), text


def test_help_lists_no_option_that_the_tasks_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    """Others stay."""
    Program(namespace=load_tasks().namespace, binary="manyhands").run(["manyhands", "--help"], exit=False)
    text = capsys.readouterr().out
    for name in ("--echo", "--hide", "--pty", "--warn-only", "--command-timeout", "--write-pyc", "--dry "):
        assert name not in text
    assert "--list-depth" in text


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--help batch.rm", "there is no task batch.rm; did you mean batch.remove?"),
        ("--help zzz", "there is no task zzz; see manyhands --list"),
        ("--list bach", "there is no collection bach; did you mean batch?"),
        (
            "--list zzz",
            f"there is no collection zzz: choose one of {', '.join(sorted(load_tasks().namespace.collections))}",
        ),
        ("--jobs 3 batch true", "--jobs is an option of tasks, and stands after the task; see manyhands --help"),
        ("--jbos 3 batch true", "there is no option --jbos; see manyhands --help"),
    ],
)
def test_a_wrong_name_beside_the_tasks_is_explained(line: str, why: str, said: Said) -> None:
    """Of whom help is wanted, what is to be listed, an option before its task."""
    assert said(*shlex.split(line)) == (2, f"manyhands: {why}")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("host.memory --every 5", "--every has no effect without --watch"),
        ("batch true --backoff 3 -- 1", "--backoff has no effect without --retries"),
        ("proc.wait 999999 --new", "--new has no effect without --log"),
        ("proc.wait 999999 --host x", "--host has no effect without --port"),
        ("batch.show --job 1 --failed", "--failed has no effect with --job"),
        ("batch true --dry-run --json -- a", "--json has no effect with --dry-run"),
        ("batch.call os:getcwd --no-journal --state-dir x -- a", "--state-dir has no effect with --no-journal"),
        ("pipe true --verbose --json", "--verbose has no effect with --json"),
        ("batch.compare os.path:basename --shell -- a", "--shell is for commands, and os.path:basename is a function"),
        ("batch.compare true --type int -- a", "--type is for functions (module:function), and true is a command"),
    ],
)
def test_options_that_have_no_effect_together_are_refused(line: str, why: str, said: Said) -> None:
    """Each by its name."""
    assert said(*shlex.split(line)) == (2, f"manyhands: {why}")


def test_an_option_from_settings_may_be_of_no_use_now(cli: Cli, environment: dict[str, str]) -> None:
    """It is meant for the calls in which it has an effect."""
    environment["MANYHANDS_EVERY"] = "5"
    assert cli("host.time", env=environment).returncode == 0
    assert cli("host.time", "--every", "5", env=environment).returncode == 2
