"""Names that people and programs rely on, whatever moves inside: those of tasks, of top-level folders, of JSON schemas."""

from __future__ import annotations

import re
import subprocess

from conftest import HERE, LIB
from manyhands.cli.loaded_tasks import load_tasks

AT_THE_ROOT = {"check-output", "fork-demo", "getoutput", "pipe", "system-info", "terminate"}
TASKS = {
    "batch": "call compare export import list merge remove resume retry run show",
    "cmd": "answer call check compare feed output pipe retry status system watch",
    "host": "check cpu disks doctor identity info memory network pressure sensors time",
    "proc": "limits list orphans port show stop top tree wait zombies",
}
SCHEMAS = {
    "advice",
    "answer",
    "check",
    "command",
    "compare",
    "contents",
    "event",
    "finding",
    "fork",
    "job",
    "journal",
    "limits",
    "listener",
    "look",
    "measured",
    "output",
    "pipeline",
    "process",
    "process.details",
    "result",
    "run",
    "scene",
    "stopped",
    "try",
    "verdict",
    "wait",
}


def test_tasks_keep_their_names() -> None:
    """Each can be typed; there may be more."""
    there = set(load_tasks().namespace.task_names)
    assert there >= AT_THE_ROOT | {
        f"{collection}.{verb}" for collection, verbs in TASKS.items() for verb in verbs.split()
    }


def test_the_top_level_keeps_its_folders() -> None:
    """What a checkout shows at first."""
    listed = subprocess.run(["git", "ls-files"], cwd=HERE, capture_output=True, text=True, check=False).stdout.split("\n")
    there = {name.split("/")[0] for name in listed if name} or {path.name for path in HERE.iterdir()}
    ours = {"lib"} if LIB == HERE / "lib" else set()  # a wheel is tested beside a copy without it
    assert there >= ours | {"scripts", "tests", "docs", ".github", "tasks.py", "pyproject.toml", "README.md"}


def test_schemas_keep_their_ids() -> None:
    """Programs that read our JSON know records by them."""
    texts = [path.read_text() for path in (LIB / "manyhands").rglob("*.py")]
    found = {name for text in texts for name in re.findall(r'"manyhands\.([a-z.]+)/1"', text)}
    assert found == SCHEMAS
