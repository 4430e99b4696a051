"""What the documentation says is true: its commands run, its links lead somewhere, its options exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import HERE, Cli, checkout_tasks
from manyhands.cli import Program
from manyhands.tour.contents import SCENES
from manyhands.tour.narrating import title_of

PAGES = [HERE / "README.md", HERE / "CONTRIBUTING.md", HERE / "SECURITY.md", *sorted((HERE / "docs").rglob("*.md"))]
TOUR = [HERE / "README.md", HERE / "docs" / "tour.md", *sorted((HERE / "docs" / "tour").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library's examples, as they are printed; the process that is stopped is one of ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text(name)
    batches, calls, maps, processes = blocks(HERE / "README.md", "python")
    exec(compile(batches, "README.md", "exec"), {"__name__": "example"})
    assert (tmp_path / "a.log.gz").exists()
    assert capsys.readouterr().out.count("ok 0") == 2
    (tmp_path / "calls.py").write_text(calls)
    done = subprocess.run([sys.executable, "calls.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "2 ok None\n5 ok None\n"
    (tmp_path / "maps.py").write_text(maps)
    done = subprocess.run([sys.executable, "maps.py"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("666666166.45")
    example: dict[str, Any] = {"__name__": "example"}
    exec(compile(processes, "README.md", "exec"), example)
    example["sleeper"].wait()
    piped, stopped = capsys.readouterr().out.splitlines()
    assert piped == f"b'{len(list(tmp_path.iterdir())) + 1}\\n' [0, 0]"
    assert stopped.startswith(f"{example['sleeper'].pid} ended 15")


STUBS = {
    "lame": 'cp "$2" "$3"',
    "optipng": 'test -e "$1"',
    "convert": 'cp "$1" "$2"',
    "ping": "true",
    "curl": "true",
    "make": "true",
}


def test_every_batch_of_the_readme_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """The command lines as they are printed, in a folder with what they work on; programs that may lack are stood in for."""
    folder, programs = tmp_path / "work", tmp_path / "programs"
    (folder / "logs" / "deep").mkdir(parents=True)
    programs.mkdir()
    for name in ("logs/a.log", "logs/deep/b.log", "x.wav", "y z.wav", "p.png", "q r.png", "t.txt"):
        (folder / name).write_text(name)
    (folder / "hosts.csv").write_text("host,wait\nlocalhost,1\n")
    lists = {
        "inputs.txt": "p.png\nt.txt\n",
        "photos.txt": "p.png\n",
        "names.txt": "new.png\n",
        "urls.txt": "http://x/\n",
        "jobs.txt": "true\n",
    }
    for name, text in lists.items():
        (folder / name).write_text(text)
    for name, script in STUBS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    (programs / "manyhands").write_text(f'#!/bin/sh\nexec {sys.executable} -m manyhands "$@"\n')
    (programs / "manyhands").chmod(0o755)
    path = f"{programs}:{environment['PATH']}"
    commands = [
        line
        for text in blocks(HERE / "README.md", "") + blocks(HERE / "docs" / "configuration.md", "")
        for line in text.splitlines()
        if re.search(r"\bmanyhands batch ('|--commands)", line)
    ]
    assert len(commands) >= 9
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**environment, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        refused = command.partition(" # ")[2] if "did you mean" in command else ""  # a mistake, with what is said to it
        assert done.returncode == (2 if refused else 0), (command, done.stderr)
        assert refused in done.stderr, (command, done.stderr)
    for made in ("logs/deep/b.log.gz", "y z.mp3", "q r.jpg", "t.counts"):
        assert (folder / made).exists(), made


def test_the_commands_about_runs_run(cli: Cli) -> None:
    """Each task and format that the README names for a run that exists."""
    cli("batch", "true", "--run-id", "r", "--", "a")
    for args in (
        ["list"],
        ["show"],
        ["show", "r", "--job", "1"],
        ["resume", "r"],
        ["retry", "r"],
        ["export", "r", "--format", "csv"],
    ):
        assert cli(f"batch.{args[0]}", *args[1:]).returncode == 0, args
    assert cli("batch.remove", "r", "--yes").returncode == 0


def test_options_and_tasks_that_are_named_exist() -> None:
    """No page speaks of an option or a task that is not there."""
    namespace = checkout_tasks()
    names = set(namespace.task_names) | {alias for found in namespace.task_names.values() for alias in found}
    options = {
        f"--{name}" for task in namespace.task_names for one in namespace[task].get_arguments() for name in one.names
    }
    options |= {f"--no-{name[2:]}" for name in options} | {"--fast"}
    options |= {f"--{name}" for one in Program(namespace=namespace).core_args() for name in one.names}
    for page in PAGES:
        text = page.read_text()
        if page.name.startswith("bench"):
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
            assert option in options, (page.name, option)
        for task in re.findall(r"`?manyhands ((?:batch|cmd|proc|host|tour|dev)\.[a-z]+(?:-[a-z]+)*)", text):
            assert task in names, (page.name, task)


def test_the_table_of_backends_is_true() -> None:
    """docs/backends.md has a row for each backend, and says of each whether it can stop a call, as its flags do."""
    from manyhands.backends.asyncio_loop import Aio
    from manyhands.backends.gevent_greenlets import Greenlets
    from manyhands.backends.processes import Processes
    from manyhands.backends.registry import FUNCTIONS
    from manyhands.backends.serial import Serial
    from manyhands.backends.threads import Threads

    rows = {
        cells[1].strip().strip("`"): [cell.strip() for cell in cells[2:-1]]
        for line in (HERE / "docs" / "backends.md").read_text().splitlines()
        if len(cells := line.split("|")) == 9 and cells[1].strip().startswith("`")
    }
    assert set(rows) == set(FUNCTIONS) - {"fake", "auto"}
    kinds: dict[str, Any] = {
        "processes": Processes,
        "threads": Threads,
        "asyncio": Aio,
        "gevent": Greenlets,
        "interpreters": Threads,
        "serial": Serial,
    }
    for name, kind in kinds.items():
        assert (rows[name][2] == "yes") == kind.can_stop, name
        assert kind.reports_start


def test_every_call_of_the_readme_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """The command lines as they are printed, with functions that stand in for what needs a network or pictures."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("x")
    (tmp_path / "images.py").write_text("def thumbnail(path): return path\nasync def upload(path): return path\n")
    (tmp_path / "primes.py").write_text("def is_prime(n): return all(n % k for k in range(2, n))\n")
    (tmp_path / "fetch.py").write_text("async def page(url): return len(url)\n")
    (tmp_path / "rows.jsonl").write_text("[1, 2]\n")
    (tmp_path / "numbers.txt").write_text("7\n8\n")
    (tmp_path / "urls.txt").write_text("a\nbb\n")
    (tmp_path / "b.jpg").touch()
    (tmp_path / "manyhands").write_text(f'#!/bin/sh\nexec {sys.executable} -m manyhands "$@"\n')
    (tmp_path / "manyhands").chmod(0o755)
    text = (HERE / "README.md").read_text() + (HERE / "docs" / "backends.md").read_text()
    commands = [
        line for line in text.splitlines() if line.startswith(("manyhands batch.call", "manyhands batch.compare"))
    ]
    assert len(commands) >= 6
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env={**environment, "PATH": f"{tmp_path}:{environment['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, (command, done.stderr)


def everyday() -> list[str]:
    """What the README shows of commands, processes and the machine; what stands after a # is for people."""
    lines = (HERE / "README.md").read_text().splitlines()
    begins = ("manyhands pipe ", "manyhands cmd.", "manyhands proc.", "manyhands host.")
    return [re.sub(r" +# .*", "", line) for line in lines if line.startswith(begins)]


@pytest.mark.parametrize("command", everyday())
def test_every_everyday_command_of_the_readme_runs(
    command: str, environment: dict[str, str], tmp_path: Path, nothing_left: None
) -> None:
    """With a listener of ours at the port. The machine may be busy: what host.check finds is no failure here."""
    (tmp_path / "access.log").write_text("10.0.0.1 GET /\n10.0.0.2 GET /\n10.0.0.1 GET /\n")
    scripts = {
        "install.sh": "printf 'Continue? '\nread reply\n[ \"$reply\" = y ]\n",
        "rsync": "true\n",
        "curl": "true\n",
        "manyhands": f'exec {sys.executable} -m manyhands "$@"\n',
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / name).chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        port = listener.stdout.readline().strip()
        done = subprocess.run(
            ["bash", "-c", command.replace("8080", port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**environment, "PATH": f"{tmp_path}:{environment['PATH']}"},
            stdin=subprocess.DEVNULL,
        )
        listener.kill()
    assert done.returncode in ((0, 1, 2) if "host." in command else (0,)), (command, done.stderr)
    assert done.stdout or done.stderr or "cmd.check" in command or "cmd.retry" in command
    assert not done.stderr.startswith("manyhands: "), done.stderr


LISTENER = """
import socket, time
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    time.sleep(100)
"""


def tour_commands() -> list[str]:
    """Every command on the pages of the tour, once; what stands after a # is for people."""
    lines = [line for page in TOUR for line in page.read_text().splitlines()]
    begins = ("$ manyhands tour.", "manyhands tour.", "manyhands batch.call manyhands.tour")
    found = [line.removeprefix("$ ").partition("#")[0].strip() for line in lines if line.startswith(begins)]
    return list(dict.fromkeys(found))


QUICKER = {
    "tour.primes": ["--method", "miller-rabin"],
    "tour.compare": ["--sample", "4"],
    "tour.talk-cost": ["--messages", "2000"],
    "tour.brokers": ["--via", "redis"],
    "tour.costs": ["--count", "1000", "--processes", "20"],
    "tour.all": ["--topic", "coroutines"],
}
"""Options that make a long command short: of an option that is given twice, the last one counts."""


@pytest.mark.sampled
@pytest.mark.parametrize("command", tour_commands())
def test_every_command_of_the_tour_runs(command: str, cli: Cli) -> None:
    """As it is printed, but quicker, where it waits or works long."""
    program, task, *options = shlex.split(command)
    assert program == "manyhands"
    if task.startswith("tour.") and "--scale" not in options and task not in ("tour.list", "tour.compare"):
        options += ["--scale", "0.2"]
    options += QUICKER.get(task, [])
    for _ in range(10):
        done = cli(task, *options, timeout=110)
        if "not seen: the machine was busy" not in done.stdout:
            break
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_scene_has_a_place_on_its_page() -> None:
    """A heading and a screen for each, on the page of its topic, and a link to every page."""
    index = (HERE / "docs" / "tour.md").read_text()
    for scene in SCENES.values():
        text = (HERE / "docs" / "tour" / f"{scene.topic}.md").read_text()
        assert re.search(rf"^## .*`{scene.name}`$", text, re.MULTILINE), scene.name
        assert f"$ manyhands tour.{scene.name}" in text, scene.name
        assert f"(tour/{scene.topic}.md)" in index


def test_the_screens_of_the_tour_are_of_these_scenes() -> None:
    """Every screen has its command, its title, and a verdict, as scripts/screens has put them there."""
    for page in TOUR[2:]:
        for block in blocks(page, "console"):
            for screen in block.split("$ manyhands tour.")[1:]:
                name = screen.split()[0]
                scene, command = SCENES[name], screen.splitlines()[0].split()
                assert title_of(scene, broken="--broken" in command) in screen, name
                assert screen.strip().splitlines()[-1].startswith("seen: "), name
