"""The tasks file: what a wheel has of it, and what only a checkout."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from conftest import HERE, Cli, checkout_tasks


def test_a_wheel_has_no_tasks_that_need_a_checkout(tmp_path: Path) -> None:
    """Its tasks file stands alone, without scripts and tests, and offers all but dev."""
    path = tmp_path / "_tasks.py"
    path.write_bytes((HERE / "tasks.py").read_bytes())
    spec = importlib.util.spec_from_file_location("shipped_tasks", path)
    assert spec is not None
    assert spec.loader is not None
    shipped = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shipped)
    ours = set(checkout_tasks().task_names)
    assert {name for name in ours if name.startswith("dev.")} == ours - set(shipped.namespace.task_names) != set()


def test_several_tasks_in_one_call(cli: Cli) -> None:
    """In their order, each with its own options."""
    done = cli("host.time", "host.identity", "--json")
    first, second = done.stdout.split("{", 1)
    assert (done.returncode, first.splitlines()[0][:14]) == (0, "Local time is ")
    assert json.loads("{" + second)["pid"] > 0
