"""What a small tasks file of a user gets from `manyhands.cli`, under plain `invoke` and under a program of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from invoke import Collection, Context

from conftest import wait_for
from manyhands.cli import Program, task, undocumented
from warm import Warm

TASKS = """
    from __future__ import annotations
    import asyncio, errno, os, sys, time
    from pathlib import Path
    from typing import Literal
    from invoke import Collection, Context
    from invoke.exceptions import Exit
    from manyhands.cli import task
    from manyhands.core.errors import BusyError
    from manyhands.cli.runner import SETTINGS

    @task(default=True, short={"jobs": "j", "tag": "t"}, remainder=True)
    def go(ctx: Context, template: str, jobs: int = 2, ratio: float = 1.5, tag: bool = False, keep_order: bool = True,
           where: Path = Path("."), form: Literal["csv", "json"] = "csv", glob: list[str] = [], from_: str | None = None,
           limit: int | None = None, rest: list[str] | None = None):
        \"\"\"Show what came.\"\"\"
        print(template, jobs, ratio, tag, keep_order, where, form, glob, from_, limit, rest, sep="|")

    @task(omittable=["run"])
    def show(ctx: Context, run: str = "latest", full: bool = False):
        \"\"\"Show a run.\"\"\"
        print(run, full)

    @task(omittable=["runs"])
    def remove(ctx, runs: list[str] = [], older: int = 0):
        print(runs, older)

    @task
    async def later(ctx):
        await asyncio.sleep(0.01)
        print("later")

    @task
    def status(ctx, code: int):
        return code

    @task
    def fails(ctx, how: str):
        if how == "busy": raise BusyError("somebody has it")
        if how == "missing": open("no/such file")
        if how == "bug": raise ZeroDivisionError("a bug")
        if how == "descriptor": raise OSError(errno.EBADF, "Bad file descriptor")
        if how == "exit": raise Exit("so long", code=7)
        if how == "closed": raise BrokenPipeError
        if how == "interrupt": raise KeyboardInterrupt

    @task
    def sh(ctx, line: str, hide: bool = False, timeout: int | None = None):
        ctx.run(line, hide=hide, timeout=timeout)

    @task
    def spew(ctx):
        for number in range(100000): print(number)

    @task
    def wait(ctx):
        open("waiting", "w").close()
        time.sleep(30)

    @task
    async def wait_async(ctx):
        open("waiting", "w").close()
        await asyncio.sleep(30)

    namespace = Collection(Collection("batch", go, show, remove), later, status, fails, sh, spew, wait, wait_async)
    namespace.configure(SETTINGS)
"""
OWN = """
    from manyhands.cli import Program
    from tasks import namespace
    Program(name="own", binary="own", version="1.2", namespace=namespace).run()
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["invoke", "own"])
def words(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """How the tasks are called: by plain `invoke`, and by a program of their own."""
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASKS))
    (tmp_path / "own.py").write_text(textwrap.dedent(OWN))
    return [sys.executable, "-m", "invoke"] if request.param == "invoke" else [sys.executable, str(tmp_path / "own.py")]


@pytest.fixture
def run(words: list[str], tmp_path: Path, environment: dict[str, str], warm_plain: Warm) -> Run:
    """Call a task in a process; ``env`` comes on top of the environment."""

    def call(*args: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        settings: dict[str, Any] = {"cwd": tmp_path, "stdin": subprocess.DEVNULL, "timeout": 30, **options}
        command = [*words, *args]
        return warm_plain.run(
            command, env={**environment, **(env or {})}, capture_output=True, text=True, check=False, **settings
        )

    return call


def shown(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What `go` showed: template jobs ratio tag keep_order where form glob from limit rest."""
    assert result.returncode == 0, result.stderr
    return result.stdout.strip("\n").split("|")


def test_annotations_type_the_options(run: Run) -> None:
    """int, float, bool, Path, Literal, list[str] and optional ones; lists repeat."""
    found = run(
        "batch",
        "x",
        "--jobs=3",
        "--ratio",
        "2",
        "--tag",
        "--no-keep-order",
        "--where",
        "a",
        "--form=json",
        "--glob",
        "a",
        "--glob=b,c",
        "--from",
        "-",
        "--limit",
        "7",
    )
    assert shown(found) == ["x", "3", "2.0", "True", "False", "a", "json", "['a', 'b,c']", "-", "7", "None"]
    assert shown(run("batch", "x")) == ["x", "2", "1.5", "False", "True", ".", "csv", "[]", "None", "None", "None"]


@pytest.mark.parametrize(
    ("args", "jobs"),
    [
        (["-j4"], "4"),
        (["-j", "4"], "4"),
        (["-j=4"], "4"),
        (["--jobs", "-1"], "-1"),
        (["--jobs=-10"], "-10"),
        (["-j", "-1"], "-1"),
        (["-j-10"], "-10"),
        (["-j", "+2"], "2"),
        (["-j2", "--jobs=3", "-j", "4"], "4"),
    ],
)
def test_values_are_given_in_every_usual_form(run: Run, args: list[str], jobs: str) -> None:
    """Short and long, with and without =, negative; the last one counts."""
    assert shown(run("batch", "x", *args))[1] == jobs


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["batch", "x", "--jobs", "x"], "--jobs: expected a whole number, got 'x'"),
        (["batch", "x", "--ratio=x"], "--ratio: expected a number, got 'x'"),
        (["batch", "x", "--form", "xml"], "--form: expected one of csv, json, got 'xml'"),
        (["status", "x"], "code: expected a whole number, got 'x'"),
        (["batch", "x", "--jobs"], "--jobs: the needed value was not given"),
        (["batch", "x", "--jbos=1"], "batch.go has no option --jbos; did you mean --jobs?"),
        (["batch", "--jbos=1"], "batch.go has no option --jbos; did you mean --jobs?"),
        (["batch", "x", "--no-jobs"], "batch.go has no option --no-jobs; did you mean --jobs?"),
        (["batch", "x", "--zzz"], "batch.go has no option --zzz; see PROGRAM --help batch.go"),
        (["batch"], "batch.go lacks its template; see PROGRAM --help batch.go"),
        (["bach.go"], "there is no task bach.go; did you mean batch.go?"),
        (["zzz"], "there is no task zzz; see PROGRAM --list"),
        (["--zzz"], "there is no option --zzz; see PROGRAM --help"),
        (["--help", "zzz"], "there is no task zzz; see PROGRAM --list"),
        (["--list", "zzz"], "there is no collection zzz: choose one of batch"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(run: Run, words: list[str], args: list[str], said: str) -> None:
    """It says what and where, and the way out."""
    result = run(*args)
    text = said.replace("PROGRAM", shlex.join(words))
    assert (result.stderr, result.returncode, result.stdout) == (f"manyhands: {text}\n", 2, "")


def test_what_follows_two_dashes_has_exact_borders(run: Run) -> None:
    """Also blanks, nothing, and further dashes; no dashes and nothing after them are different."""
    assert shown(run("batch", "x", "--", "a b", "", "--", "-j"))[-1] == "['a b', '', '--', '-j']"
    assert shown(run("batch", "x", "--"))[-1] == "[]"
    assert shown(run("batch", "x"))[-1] == "None"


def test_positional_arguments_may_be_left_out(run: Run) -> None:
    """Before and after options, and help can be asked for at their place; a list takes all that follow."""
    assert run("batch.show").stdout == "latest False\n"
    assert run("batch.show", "7f3a").stdout == "7f3a False\n"
    assert run("batch.show", "--full", "7f3a").stdout == "7f3a True\n"
    assert run("batch.show", "--run", "7f3a").stdout == "7f3a False\n"
    assert run("batch.remove").stdout == "[] 0\n"
    assert run("batch.remove", "a", "b", "--older=3", "c").stdout == "['a', 'b', 'c'] 3\n"
    assert "Show a run." in run("batch.show", "--help").stdout
    assert run("batch.show", "--echo").stdout == "latest False\n"
    assert "no option --nope" in run("batch.show", "--nope").stderr


def test_the_more_specific_variable_wins(run: Run) -> None:
    """For all tasks, a collection, a task; and the command line over all of them."""
    variables: dict[str, str] = {}
    for name, value in [("JOBS", "3"), ("BATCH_JOBS", "4"), ("GO_JOBS", "5"), ("BATCH_GO_JOBS", "6")]:
        variables[f"MANYHANDS_{name}"] = value
        assert shown(run("batch", "x", env=variables))[1] == value
    assert shown(run("batch", "x", "-j1", env=variables))[1] == "1"


def test_every_kind_of_option_can_come_from_the_environment(run: Run) -> None:
    """Lists are a line each; what is on can be put off again; empty is not given; a positional argument is not an option."""
    env = {
        "TAG": "yes",
        "KEEP_ORDER": "0",
        "GLOB": "a b\nc,d",
        "FROM": "f",
        "FORM": "json",
        "LIMIT": "",
    }
    variables = {f"MANYHANDS_{name}": value for name, value in env.items()}
    assert shown(run("batch", "x", env=variables))[3:10] == ["True", "False", ".", "json", "['a b', 'c,d']", "f", "None"]
    assert shown(run("batch", "x", "--no-tag", "--keep-order", env=variables))[3:5] == ["False", "True"]
    assert run("batch", env=variables).returncode == 2
    assert run("batch.show", env=variables).stdout == "latest False\n"
    for name in ("MANYHANDS_TEMPLATE", "MANYHANDS_RUN"):
        refused = run("batch.show", env={name: "no"})
        assert (refused.returncode, f"{name}: no task has such an option" in refused.stderr) == (2, True)


def test_files_give_defaults_in_their_order(run: Run, words: list[str], tmp_path: Path) -> None:
    """Command line, environment, project file, invoke's own, user file, signature."""
    (tmp_path / ".manyhands.yaml").write_text("{jobs: 3, ratio: 3, where: user, limit: 3}")
    assert shown(run("batch", "x"))[1:3] == ["3", "3.0"]
    if words[-1] == "invoke":
        (tmp_path / "invoke.yaml").write_text("manyhands: {batch: {jobs: 4, ratio: 4, where: invoke}}")
        assert shown(run("batch", "x"))[1:3] == ["4", "4.0"]
    sub = tmp_path / "sub"
    sub.mkdir()
    (tmp_path / "manyhands.yaml").write_text("{jobs: 5, ratio: 5, batch: {go: {keep-order: no, glob: [a, b]}}}")
    found = shown(run("batch", "x", "-j7", env={"MANYHANDS_RATIO": "6"}, cwd=sub))
    assert [*found[1:3], *found[4:6], found[7], found[9]] == [
        "7",
        "6.0",
        "False",
        "invoke" if words[-1] == "invoke" else "user",
        "['a', 'b']",
        "3",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobs: often", "jobs in {path}, line 1: expected a whole number, got 'often'"),
        ("batch: {go: {jobs: yes}}", "batch.go.jobs in {path}, line 1: expected a whole number, got 'true'"),
        ("jobs: [1, 2]", "jobs in {path}, line 1: expected one value, got 2"),
        ("[1]", "{path}: expected options and their values"),
        ("a: [", "{path} is not YAML: "),
    ],
)
def test_a_mistake_in_a_file_names_it(run: Run, tmp_path: Path, text: str, said: str) -> None:
    """One line, exit 2; so does one in a variable."""
    path = tmp_path / "manyhands.yml"
    path.write_text(text)
    result = run("batch", "x")
    assert result.stderr.startswith("manyhands: " + said.format(path=path.resolve()))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    path.unlink()
    assert run("batch", "x", env={"MANYHANDS_TAG": "perhaps"}).stderr == (
        "manyhands: MANYHANDS_TAG: expected yes or no, got 'perhaps'\n"
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")
def test_a_strangers_file_in_a_public_folder_is_refused(run: Run, tmp_path: Path) -> None:
    """An option can set the environment of commands, so whoever may write in /tmp must not."""
    (tmp_path / "manyhands.yaml").write_text("jobs: 3")
    os.chown(tmp_path / "manyhands.yaml", 12345, 12345)
    assert shown(run("batch", "x"))[1] == "3"
    tmp_path.chmod(0o1777)
    result = run("batch", "x")
    assert (result.returncode, "belongs to somebody else" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("busy", 75, "manyhands: somebody has it\n"),
        ("missing", 1, "manyhands: no/such file: No such file or directory\n"),
        ("exit", 7, "so long\n"),
        ("closed", 141, ""),
    ],
)
def test_errors_are_one_line_and_their_status(run: Run, how: str, code: int, said: str) -> None:
    """No traceback for what a user can cause."""
    result = run("fails", how)
    assert (result.returncode, result.stderr) == (code, said)


@pytest.mark.parametrize("how", ["bug", "descriptor"])
def test_a_bug_keeps_its_traceback(run: Run, how: str) -> None:
    """It must be visible; also an OSError that no user can cause."""
    result = run("fails", how)
    assert (result.returncode, "Traceback" in result.stderr) == (1, True)


def test_statuses(run: Run) -> None:
    """An int that is returned; what a command of `ctx.run` ended with; a coroutine is run."""
    assert run("status", "3").returncode == 3
    assert run("status", "0", "later").stdout == "later\n"
    assert run("sh", "exit 9").returncode == 9
    assert run("sh", "kill -9 $$", "--hide").returncode == 137
    late = run("sh", "sleep 20", "--timeout=1")
    assert (late.returncode, late.stderr) == (124, "manyhands: Command did not complete within 1 seconds!\n")


def test_commands_do_not_wait_for_input(run: Run) -> None:
    """`ctx.run` gives them the end of a file, and leaves the user's standard input alone."""
    reader, writer = os.pipe()  # never closed: whoever reads it waits
    assert run("sh", "cat; echo end", stdin=reader).stdout == "end\n"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("task", ["wait", "wait-async", "sh 'touch waiting; sleep 30; :'"])
def test_ctrl_c_stops_a_shell_loop(words: list[str], tmp_path: Path, environment: dict[str, str], task: str) -> None:
    """We die by SIGINT itself, the shell sees it, and goes no further."""
    command = ["bash", "-c", f"for i in 1 2; do {' '.join(words)} {task}; echo went on; done"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for((tmp_path / "waiting").exists)
    time.sleep(0.1)  # until the wait has really begun
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: everybody in the foreground gets it
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (-signal.SIGINT, "")
    assert "Traceback" not in err


@pytest.mark.sampled
@pytest.mark.parametrize("task", ["spew", "-l", "--help", "batch --help", "sh 'seq 300000'"])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_closed_pipe_is_141_without_noise(
    words: list[str], tmp_path: Path, environment: dict[str, str], task: str, buffered: bool
) -> None:
    """Neither a traceback nor "Exception ignored", whatever is printing."""
    if task == "--help" and words[-1] == "invoke":
        pytest.skip("invoke prints its own help before it loads any tasks")
    script = f"(sleep 0.5; exec {' '.join(words)} {task}) 2>err | true; echo ${{PIPESTATUS[0]}}"
    env = {**environment, "PYTHONUNBUFFERED": "" if buffered else "1"}
    found = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert (found.stdout, (tmp_path / "err").read_text()) == ("141\n", "")


def test_closed_descriptors_are_the_null_device(words: list[str], tmp_path: Path, environment: dict[str, str]) -> None:
    """0 to 2 closed at start: for us, and for the commands that we start."""
    line = "import os; open('there', 'w').write(str([os.path.samestat(os.fstat(n), os.stat('/dev/null')) for n in (0, 1, 2)]))"
    (tmp_path / "tasks.py").write_text(
        f"import subprocess, sys\nfrom invoke import Collection\nfrom manyhands.cli import task\n"
        f"@task\ndef look(ctx):\n    print('x')\n    subprocess.run([sys.executable, '-c', {line!r}])\n"
        f"namespace = Collection(look)\n"
    )
    script = f"exec {' '.join(words)} look <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=False).returncode == 0
    assert (tmp_path / "there").read_text() == "[True, True, True]"


def test_our_program_is_invokes_with_its_own_name(tmp_path: Path, environment: dict[str, str]) -> None:
    """`manyhands` alone and --help print help, --version and --list what they say."""

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "manyhands", *args]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    for args in ([], ["--help"]):
        assert (call(*args).returncode, "manyhands TASK [ARGUMENTS]" in call(*args).stdout) == (0, True)
    assert call("--version").stdout.startswith("manyhands ")
    assert "batch.resume" in call("--list").stdout
    assert (
        call("--print-completion-script", "tcsh").stderr
        == "manyhands: no completion for tcsh; choose one of bash, zsh, fish\n"
    )


# -- in this process -----------------------------------------------------------------------------------------------------


def test_a_program_with_an_explicit_command_line_reads_rest_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Not from sys.argv; afterwards that counts again."""
    seen: list[Any] = []

    @task(remainder=True)
    def see(ctx: Context, rest: list[str] | None = None) -> None:
        seen.append(rest)

    Program(name="p", binary="p", namespace=Collection(see)).run(["p", "see", "--", "a b", ""], exit=False)
    see(Context())
    assert seen == [["a b", ""], None]


def test_a_task_called_from_python_gets_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults of the signature hold; the user's are for the command line."""
    monkeypatch.setenv("MANYHANDS_JOBS", "9")

    @task
    def double(ctx: Context, jobs: int = 2, form: Literal["a", "b"] = "a") -> bool:
        return (jobs, form) == (2, "b")

    assert double(Context(), form="b") is True


def test_an_annotation_that_no_option_can_have_is_told_at_once() -> None:
    """When the tasks file is loaded, not when a user gives the option."""
    with pytest.raises(TypeError, match="an option cannot be a dict"):

        @task
        def wrong(ctx: Context, what: dict[str, str] | None = None) -> None: ...


def test_annotations_may_be_objects_or_missing() -> None:
    """As they are without ``from __future__ import annotations``; without one, the default's type counts."""
    space: dict[str, Any] = {"task": task, "Path": Path, "Literal": Literal}
    source = "@task\ndef t(c, a: int, b: Path, d: 'int | None', e: list[str], f: Literal['x'], g: int | None, h=2.5, i=None): 'T'"
    exec(compile(source, "tasks.py", "exec", dont_inherit=True), space)
    assert space["t"].kinds == {
        "a": "int",
        "b": "Path",
        "d": "int",
        "e": "list[str]",
        "f": "Literal['x']",
        "g": "int",
        "h": "float",
        "i": "str",
    }


def test_options_without_help_are_found() -> None:
    """And tasks without a docstring."""

    @task(help={"jobs": "how many"})
    def bare(ctx: Context, jobs: int = 1, keep_order: bool = True) -> None: ...

    assert undocumented(Collection(bare)) == ["bare", "bare --keep-order"]
