"""Programs that make a cluster themselves, and what travels between the two ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from manyhands.backends.cluster.travelling import Over, ends_packed, ends_unpacked
from manyhands.core.attempt import Ending, Output

pytestmark = pytest.mark.sampled

SCRIPT = """\
import os, sys
from os.path import basename
with open("imported", "a") as file:
    file.write(f"{os.getpid()}\\n")

def imports():
    with open("imported") as file:
        return len(file.read().split())

if __name__ == "__main__":
    from distributed import Client, LocalCluster
    from manyhands import run_batch
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for _ in range(3):
            assert [one.value for one in run_batch(basename, ["a/x"], backend="dask", cluster=client)] == ["x"]
            print(imports())
"""


def test_the_main_module_is_imported_once_for_all_batches(environment: dict[str, str], tmp_path: Path) -> None:
    """Each batch has processes of its own at the workers, but what the script imports may take long."""
    pytest.importorskip("distributed")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    environment["DASK_TEMPORARY_DIRECTORY"] = str(tmp_path)
    done = subprocess.run(command, env=environment, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "3", "3"]  # the script, the worker of Dask, and the fork server below it


def test_ends_arrive_as_they_were_sent() -> None:
    """All fields of them."""
    ending = Ending(0, None, None, 17.0, 0.5, stdout=Output(b"x", size=1), slot=1, result=b"1", host="h")
    sent = [
        Over((7, 1), 1.5, ending, True, False, 99),
        Over((8, 2), 2.5, Ending(error="no"), False, stopped=True, again=True),
    ]
    assert ends_unpacked(ends_packed(sent)) == sent
    assert ends_unpacked(ends_packed([])) == []
