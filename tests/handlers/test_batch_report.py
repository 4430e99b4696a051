"""``batch.report``: each form, whatever the run is, and one line for each mistake."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from conftest import HERE, Cli, wait_for

FLAKY = "sh -c 'test -e {0}/{{}} || {{{{ touch {0}/{{}}; echo again {{}} >&2; exit 3; }}}}'"


@pytest.fixture
def run(cli: Cli) -> str:
    """A run with two jobs that are ok and one that failed."""
    assert cli("batch", "sh -c 'echo out {}; exit {}'", "--run-id", "r", "--", "0", "3", "0").returncode == 1
    return "r"


def test_a_page(cli: Cli, run: str, tmp_path: Path) -> None:
    """By default RUN.html here, readable by its owner alone, and replaced the next time."""
    for _ in range(2):
        done = cli("batch.report")
        assert (done.returncode, done.stdout, done.stderr) == (0, "r.html\n", "")
    text = (tmp_path / "r.html").read_text()
    assert stat.S_IMODE((tmp_path / "r.html").stat().st_mode) == 0o600
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)=["'](?!#)|url\((?!#)|@import""", text)
    assert re.search(r"<dt>.*ok</dt><dd>2</dd>", text)
    assert "failed with exit status 3" in text
    assert len(list(tmp_path.glob("*.html"))) == 1


def test_pictures(cli: Cli, run: str, tmp_path: Path) -> None:
    """Of their own, without a page."""
    assert cli("batch.report", "r", "-o", "r.svg").stdout == "r.svg\n"
    assert ET.parse(tmp_path / "r.svg").getroot().tag.endswith("svg")
    assert cli("batch.report", "r", "-o", "r.png").returncode == 0
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_markdown(cli: Cli, run: str, tmp_path: Path) -> None:
    """The summary that CI systems get, also on standard output."""
    assert cli("batch.report", "r", "-o", "r.md").returncode == 0
    text = (tmp_path / "r.md").read_text()
    assert text.startswith("### sh -c 'echo out {}; exit {}'\n\nRun r: 3 jobs: 2 ok, 1 failed")
    assert "#### 1 failed" in text
    assert cli("batch.report", "r", "-o", "-", "--format", "md").stdout == text


def test_standard_output(cli: Cli, run: str) -> None:
    """The page, if no other form is named."""
    done = cli("batch.report", "r", "--output", "-")
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert done.stdout.endswith("</html>\n")


def test_stages_and_retries(cli: Cli, tmp_path: Path) -> None:
    """Each attempt at each stage is in the picture; retries are counted."""
    (tmp_path / "flags").mkdir()
    first = FLAKY.format(tmp_path / "flags")
    args = ("--then", "echo {}", "--retries", "1", "--delay", "0", "--run-id", "r", "--", "1", "2")
    assert cli("batch", first, *args).returncode == 0
    assert cli("batch.report", "r").returncode == 0
    text = (tmp_path / "r.html").read_text()
    assert "6 attempts on" in text
    assert "2 of them retries" in text
    assert ">stage 2<" in text


def test_a_run_that_is_going_on_and_was_killed(environment: dict[str, str], cli: Cli, tmp_path: Path) -> None:
    """What runs is told as that; after a kill it is left."""
    command = [
        sys.executable,
        "-m",
        "manyhands",
        "batch",
        "sleep {}",
        "--run-id",
        "r",
        "-j",
        "2",
        "--",
        "0",
        "600",
        "601",
    ]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: "2 running" in cli("batch.show", "r").stdout)
        assert cli("batch.report", "r").returncode == 0
    finally:
        process.kill()
        process.wait()
    text = (tmp_path / "r.html").read_text()
    assert re.search(r"running</dt><dd>2</dd>", text)
    wait_for(lambda: "not complete" in reported(cli))
    assert re.search(r"left</dt><dd>2</dd>", reported(cli))


def reported(cli: Cli) -> str:
    return str(cli("batch.report", "r", "-o", "-").stdout)


@pytest.mark.parametrize("archive", ["runs-schema-2", "runs-schema-3", "runs-old-modules"])
def test_old_runs(archive: str, cli: Cli, tmp_path: Path) -> None:
    """Of each earlier schema, also those that were cut off."""
    with tarfile.open(HERE / "tests" / "data" / f"{archive}.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    found = [one.name for one in (tmp_path / "state" / "runs").iterdir()]
    assert len(found) == 5
    for name in found:
        done = cli("batch.report", name, "--state-dir", "state")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_output_whose_file_is_gone(cli: Cli, own_state: Path, tmp_path: Path) -> None:
    """Is said in its place."""
    cli("batch", "sh -c 'head -c 3000000 /dev/zero | tr \"\\0\" x; exit 1'", "--run-id", "r", "--", "1")
    for path in (own_state / "runs" / "r" / "outputs").iterdir():
        path.unlink()
    assert cli("batch.report", "r").returncode == 0
    assert "has been removed" in (tmp_path / "r.html").read_text() or "gone" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("r", "-o", "r.txt"), "--output r.txt: expected a name that ends with .html, .svg, .png or .md, or --format"),
        (("r", "-o", "nowhere/r.html"), "--output nowhere/r.html: there is no such folder"),
        (("r", "-o", "folder.html"), "--output folder.html: is no regular file, so it is not replaced"),
        (("r", "-o", "-", "--open"), "--open needs a file: give --output another name than -"),
        (("--format", "pdf"), "--format: expected one of html, svg, png, md, got 'pdf'"),
        (("nope",), "no run 'nope'"),
    ],
)
def test_mistakes(args: tuple[str, ...], says: str, cli: Cli, run: str, tmp_path: Path) -> None:
    """One line, status 2, and nothing is written."""
    (tmp_path / "folder.html").mkdir()
    done = cli("batch.report", *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr
    assert not list(tmp_path.glob("r.*"))


def test_a_missing_extra_is_named(cli: Cli, run: str, environment: dict[str, str], tmp_path: Path) -> None:
    """In one line; Markdown needs none."""
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "vl_convert.py").write_text("raise ImportError('not there', name='vl_convert')")
    path = f"{tmp_path / 'hide'}:{environment['PYTHONPATH']}"
    done = cli("batch.report", "r", cold=True, env={**environment, "PYTHONPATH": path})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "a report needs the extra 'report': vl-convert is not installed" in done.stderr
    assert "vl-convert-python" in done.stderr
    assert cli("batch.report", "r", "-o", "r.md", cold=True, env={**environment, "PYTHONPATH": path}).returncode == 0


@pytest.mark.parametrize("form", ["html", "svg", "png"])
def test_any_character_can_be_drawn(form: str, cli: Cli, tmp_path: Path) -> None:
    """Also those that no XML may have, in a command and in an input."""
    assert cli("batch", "true '\uffff\ufffe \x1b \u202e' {}", "--run-id", "r", "--", "\uffff").returncode == 0
    assert cli("batch.report", "r", "-o", f"r.{form}").returncode == 0
    assert (tmp_path / f"r.{form}").stat().st_size > 1000


def test_it_is_opened(cli: Cli, run: str, environment: dict[str, str], tmp_path: Path) -> None:
    """By the browser that the user has chosen, with the address of the file; that there is none is no failure."""
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    opener.chmod(0o700)
    done = cli("batch.report", "r", "--open", cold=True, env={**environment, "BROWSER": f"{opener} %s"})
    assert done.returncode == 0
    assert (tmp_path / "opened").read_text() == (tmp_path / "r.html").as_uri()
