"""What the project says about itself is true: workflows, CONTRIBUTING.md, the reference of the library, addresses."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import manyhands
from conftest import HERE, checkout_tasks

WORKFLOWS = sorted((HERE / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))
SPEAKS = [HERE / "pyproject.toml", *HERE.glob("*.md"), *(HERE / "docs").rglob("*.md"), *(HERE / ".github").rglob("*.*")]
"""What is read by people who do not know the project yet."""
HOSTS = {
    "127.0.0.1",
    "cr.yp.to",
    "docs.kernel.org",
    "docs.python.org",
    "sqlite.org",
    "www.cons.org",
    "www.gevent.org",
    "localhost",
}
"""Documentation of other projects, which is really there, and this machine."""


LAID_OUT_BY_HAND = {"lib/manyhands/tour/contents.py": "the table of the scenes"}
"""Files with one table that the formatter would make longer than a file may be; everything else is as it lays it out."""


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned(path: Path) -> None:
    """By the hash of a commit, which nobody can move, with the version beside it, which people and dependabot read."""
    uses = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert uses
    for one in uses:
        assert one.startswith("./") or re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_an_action_has_one_version() -> None:
    """In all workflows."""
    pins = {one for path in WORKFLOWS for one in re.findall(r"uses: ([^.].*)", path.read_text(encoding="utf-8"))}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins}), sorted(pins)


def test_the_tasks_that_workflows_and_contributors_run_exist() -> None:
    """Each ``dev.`` task that a workflow or CONTRIBUTING.md names; and every check has a workflow that runs it."""
    known = {name for name in checkout_tasks().task_names if name.startswith("dev.")}
    flows = {
        one for path in WORKFLOWS for one in re.findall(r"scripts/run (dev\.[\w-]+)", path.read_text(encoding="utf-8"))
    }
    assert flows >= {"dev.lint", "dev.types", "dev.docs", "dev.workflows", "dev.wheel", "dev.test-wheel", "dev.coverage"}
    named = set(re.findall(r"\bdev\.[\w-]+\w", (HERE / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert flows | named <= known


def test_every_python_that_we_name_is_tested() -> None:
    """The versions of the classifiers are those of the workflow."""
    named = [one.split(" :: ")[-1] for one in PROJECT["project"]["classifiers"] if "Python :: 3." in one]
    (matrix,) = re.findall(r"python: \[(.*)\]", (HERE / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert named == [one.strip('" ') for one in matrix.split(",")]


def test_the_parts_that_contributors_are_sent_to_exist() -> None:
    """Every path in CONTRIBUTING.md, and every name that it says stands in a file."""
    text = (HERE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:lib|tests|docs|scripts)/[\w./*-]+|tasks\.py|pyproject\.toml)`", text)
    assert len(paths) > 15
    for path in paths:
        assert path == "lib/" or (HERE / path).exists() or (Path(manyhands.__file__).parents[1] / path[4:]).exists(), path
    for name, place in (("EXPORTERS", "export/formats.py"), ("Format", "options/choices.py")):
        assert re.search(
            rf"^{name}\b", (Path(manyhands.__file__).parent / place).read_text(encoding="utf-8"), re.MULTILINE
        ), name
    for name in ("command", "function"):
        assert "\nBACKENDS = " in (HERE / "tests" / "backends" / f"test_{name}_backends.py").read_text(encoding="utf-8")


def test_every_public_name_is_in_the_reference() -> None:
    """Once, and nothing else is."""
    page = (HERE / "docs" / "reference.md").read_text(encoding="utf-8")
    found = re.findall(r"^\.\. auto\w+:: (\w+)$", page, re.MULTILINE)
    assert sorted(found) == sorted(manyhands.__all__)


@pytest.mark.parametrize("path", SPEAKS, ids=lambda path: str(path.relative_to(HERE)))
def test_no_address_is_made_up(path: Path) -> None:
    """A page on the net is documentation of another project; nobody's mail or repository is invented."""
    text = path.read_text(encoding="utf-8")
    for address in re.findall(r"https?://[^\s)>`'\"]+", text):
        assert urlsplit(address).hostname in HOSTS, address
    assert not re.search(r"[\w.+-]+@[\w-]+\.(?:com|org|net|io|dev|example)\b", text)


def test_the_formatter_lays_the_code_out() -> None:
    """No file but these has a place that it leaves alone, and these have one each."""
    places = ("lib", "tests", "scripts", "docs")
    paths = [*HERE.glob("*.py"), *(path for place in places for path in (HERE / place).rglob("*.py"))]
    marks = {
        path.relative_to(HERE).as_posix(): len(re.findall(r"# fmt: (?:skip|off)", path.read_text())) for path in paths
    }
    expected = {path: 1 for path in LAID_OUT_BY_HAND if (HERE / path).exists()}  # a wheel is tested without lib/
    assert {path: count for path, count in marks.items() if count} == expected


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["scripts/test-wheel"], "there is no wheel ''; scripts/check wheel builds one into dist/\n"),
        (["scripts/test-wheel", "no.whl"], "there is no wheel 'no.whl'; scripts/check wheel builds one into dist/\n"),
    ],
)
def test_a_script_without_its_wheel_says_how_to_get_one(command: list[str], said: str) -> None:
    """One line, and nothing is made."""
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
