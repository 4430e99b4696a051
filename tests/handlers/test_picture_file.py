"""``--output`` of what measures: each form, mistakes before the work begins, watches that end in every way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from browsers import Browser
from conftest import HERE, Cli

BEGINS = {"html": b"<!DOCTYPE html>", "svg": b"<svg", "png": b"\x89PNG", "md": b"# "}
WORK = f"{HERE / 'tests' / 'functions.py'}:double"
WATCHED = ["info", "cpu", "memory", "disks", "network", "sensors", "pressure"]


@pytest.mark.parametrize("form", BEGINS)
def test_a_comparison_is_drawn(form: str, cli: Cli, tmp_path: Path) -> None:
    """In each form; standard output is as without it."""
    done = cli("batch.compare", WORK, "--sample", "2", "-o", f"c.{form}", "--json", "--", "1", "2", timeout=120)
    assert (done.returncode, done.stderr) == (0, f"manyhands: c.{form} is written\n")
    assert json.loads(done.stdout.splitlines()[-1])["schema"] == "manyhands.advice/1"
    data = (tmp_path / f"c.{form}").read_bytes()
    assert data.startswith(BEGINS[form])
    assert (tmp_path / f"c.{form}").stat().st_mode & 0o777 == 0o600


def test_what_does_not_work_is_in_the_table(cli: Cli, tmp_path: Path) -> None:
    """Jobs that fail have another colour; the exit status is as without it."""
    done = cli("batch.compare", "sh -c 'exit {}'", "--sample", "2", "-o", "c.html", "--", "1", "0", timeout=120)
    assert done.returncode == 0
    text = (tmp_path / "c.html").read_text()
    assert "In another colour: jobs of it were not ok." in text
    assert 'fill="var(--failed)"' in text


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("x.pdf", "--output x.pdf: expected a name that ends with .html, .svg, .png or .md"),
        ("no/x.png", "--output no/x.png: there is no such folder"),
        ("folder.html", "--output folder.html: is no regular file, so it is not replaced"),
        ("-", "--output -: expected the name of a file"),
        ("/proc/x.html", "--output /proc/x.html: "),
    ],
)
@pytest.mark.parametrize(
    "task",
    [["batch.compare", "touch ran", "--", "1"], ["host.memory", "--watch"], ["tour.process-names"], ["tour.compare"]],
)
def test_a_target_that_cannot_be_written(task: list[str], output: str, says: str, cli: Cli, tmp_path: Path) -> None:
    """Is told in one line, with status 2, before anything runs."""
    (tmp_path / "folder.html").mkdir()
    done = cli(task[0], *task[1:2], "--output", output, *task[2:])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("task", [["batch.compare", WORK, "--", "1"], ["host.memory", "--watch"], ["tour.process-names"]])
def test_a_missing_extra_is_told_before_the_work(
    task: list[str], cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    """In one line, with status 2; Markdown needs none."""
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "vl_convert.py").write_text("raise ImportError('not there', name='vl_convert')")
    hidden = {**environment, "PYTHONPATH": f"{tmp_path / 'hide'}:{environment['PYTHONPATH']}"}
    done = cli(task[0], *task[1:2], "-o", "x.html", *task[2:], cold=True, env=hidden)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "a picture needs the extra 'report': vl-convert is not installed" in done.stderr
    assert not (tmp_path / "x.html").exists()
    if "--watch" not in task:
        assert cli(task[0], *task[1:2], "-o", "x.md", *task[2:], cold=True, env=hidden, timeout=120).returncode == 0


def watch(environment: dict[str, str], folder: Path, *args: str, stop: signal.Signals) -> tuple[int, str]:
    """Watch until three looks were printed, then send the signal; returns the exit status and what was on stderr."""
    command = [sys.executable, "-m", "manyhands", *args, "--watch", "--every", "0.1", "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as watching:
        assert watching.stdout and watching.stderr
        for _ in range(3):
            assert json.loads(watching.stdout.readline())
        watching.send_signal(stop)
        _, said = watching.communicate(timeout=120)
    return watching.returncode, said


@pytest.mark.parametrize("name", WATCHED)
def test_a_watch_is_drawn_when_it_ends(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    """By Ctrl-C, with the exit status that it has without."""
    status, said = watch(environment, tmp_path, f"host.{name}", "-o", "w.html", stop=signal.SIGINT)
    assert (status, said) == (-signal.SIGINT, "manyhands: w.html is written\n")
    assert " looks in " in (tmp_path / "w.html").read_text()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_too(stop: signal.Signals, environment: dict[str, str], tmp_path: Path) -> None:
    """timeout(1), or a terminal that is closed: what was seen is written, and the signal ends it."""
    status, said = watch(environment, tmp_path, "host.memory", "-o", "w.md", stop=stop)
    assert (status, said) == (-stop, "manyhands: w.md is written\n")
    assert "| used |" in (tmp_path / "w.md").read_text()


def test_a_file_that_cannot_be_written_at_the_end(environment: dict[str, str], tmp_path: Path) -> None:
    """Is told, and changes nothing about how the watch ends."""
    (tmp_path / "f").mkdir()
    command = [sys.executable, "-m", "manyhands", "host.memory", "--watch", "--every", "0.1", "-o", "f/w.md", "--json"]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, cwd=tmp_path) as watching:
        assert watching.stdout
        watching.stdout.readline()
        (tmp_path / "f").rmdir()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=120)
    assert watching.returncode == -signal.SIGINT
    assert said == "manyhands: --output f/w.md: No such file or directory\n"


def test_the_reader_goes_away(environment: dict[str, str], tmp_path: Path) -> None:
    """``| head``: what was seen is written, and the end is that of a closed pipe."""
    command = [sys.executable, "-m", "manyhands", "host.memory", "--watch", "--every", "0.1", "-o", "w.md", "--json"]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, cwd=tmp_path) as watching:
        assert watching.stdout and watching.stderr
        watching.stdout.readline()
        watching.stdout.close()
        assert watching.stderr.read() == "manyhands: w.md is written\n"
        assert watching.wait(timeout=120) == 128 + signal.SIGPIPE


def test_without_a_watch_there_is_nothing_over_time(cli: Cli) -> None:
    """One line, status 2; what has no numbers does not have the option."""
    done = cli("host.memory", "--output", "w.html")
    assert (done.returncode, done.stderr) == (2, "manyhands: --output has no effect without --watch\n")
    done = cli("host.time", "--watch", "--output", "w.html")
    assert done.returncode == 2
    assert "no option --output" in done.stderr


def test_settings_of_other_tasks_are_none_of_a_file(cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
    """``output: failures`` is for runs; it names no file of a report, a comparison or a scene."""
    assert cli("batch", "true", "--run-id", "r", "--", "1").returncode == 0
    set_ = {**environment, "MANYHANDS_OUTPUT": "failures", "MANYHANDS_BATCH_OUTPUT": "failures"}
    for args in (["batch.report", "r"], ["batch.compare", "true", "--sample", "1", "--", "1"], ["tour.process-identity"]):
        done = cli(*args, cold=True, env=set_, timeout=120)
        assert (done.returncode, done.stderr) == (0, ""), args
    assert os.listdir(tmp_path).count("r.html") == 1


@pytest.mark.parametrize("form", BEGINS)
def test_a_scene_is_drawn(form: str, cli: Cli, tmp_path: Path) -> None:
    """What ran when, in each form; the verdict is its first line."""
    done = cli("tour.pool-size", "--scale", "0.05", "-o", f"s.{form}", timeout=120)
    assert done.returncode in (0, 3)  # 3: the machine was too busy for the verdict
    assert done.stderr == f"manyhands: s.{form} is written\n"
    data = (tmp_path / f"s.{form}").read_bytes()
    assert data.startswith(BEGINS[form])
    if form in ("html", "md"):
        assert "What took a while" in data.decode()


def test_a_scene_without_bars_is_drawn_too(cli: Cli, tmp_path: Path) -> None:
    """It has moments."""
    assert cli("tour.process-identity", "-o", "s.html").returncode == 0
    text = (tmp_path / "s.html").read_text()
    assert "What was told" in text
    assert "How long each took" not in text


def test_a_scene_that_is_not_possible_is_not_drawn(cli: Cli, tmp_path: Path) -> None:
    """One line more; the status is as without."""
    done = cli("tour.process-zombie", "--start-method", "forkserver", "-o", "s.html")
    assert done.returncode == 3
    assert done.stderr == "manyhands: --output s.html: nothing was seen, so there is nothing to draw\n"
    assert not (tmp_path / "s.html").exists()


@pytest.mark.parametrize("dark", [False, True])
def test_pages_of_scenes_and_comparisons_in_a_browser(dark: bool, cli: Cli, browser: Browser, tmp_path: Path) -> None:
    """They load nothing, fit a telephone, and axe finds nothing; an evil name of a command is text."""
    evil = "true '</script><script>document.title=1</script>'"
    assert cli("batch.compare", evil, "--sample", "2", "-o", "c.html", "--", "1", "2", timeout=120).returncode == 0
    assert cli("tour.process-names", "-o", "s.html", timeout=120).returncode == 0
    for name in ("c.html", "s.html"):
        for width in (360, 1400):
            browser.open(tmp_path / name, width=width, dark=dark, script=False)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            assert browser.run("return document.querySelectorAll('script').length") == 0
            assert browser.violations() == []
            assert browser.said() == []
            assert browser.driver.title != "1"
