"""Run folders: private, found by a prefix, locked, never made where somebody else could reach them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conftest import LIB, Cli
from manyhands.errors import BusyError, CannotCreateError, UsageError
from manyhands.runs import Store, default_state_dir, discard, is_busy, lock, short_ids

ASKED = {"template": "true", "shell": None, "workdir": "/"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def test_everything_is_private(store: Store) -> None:
    """Folders are 0700 and files 0600, whatever the umask (row 60)."""
    before = os.umask(0)
    try:
        run, held = store.create(ASKED)
    finally:
        os.umask(before)
    held.close()
    for path in [store.root, run.path, *run.path.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_run_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    """Exact ids win; an ambiguous or unknown one is an error that says so; none means the newest."""
    with pytest.raises(UsageError, match="no runs"):
        store.find()
    for name in ("abc1", "abc2", "abc"):
        store.create(ASKED, name)[1].close()
    assert store.find("abc1").id == "abc1"
    assert store.find("abc").id == "abc"
    assert store.find().id == "abc"
    with pytest.raises(UsageError, match="beginning of 3 runs"):
        store.find("ab")
    with pytest.raises(UsageError, match="no run 'zzz'"):
        store.find("zzz")
    with pytest.raises(UsageError, match="no run ''"):
        store.find("")
    assert [run.id for run in store.all()] == ["abc", "abc2", "abc1"]


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "-x", "a b", "x" * 65])
def test_bad_names_are_refused(store: Store, name: str) -> None:
    """A name is a plain folder name that is easy to type."""
    with pytest.raises(UsageError, match="--run-id"):
        store.create(ASKED, name)
    assert store.get("../x") is None


def test_short_ids() -> None:
    """As many characters as are needed, four at least."""
    assert short_ids(["aaaa1111", "aaaa2222", "b", "cccc3333"]) == {
        "aaaa1111": "aaaa1", "aaaa2222": "aaaa2", "b": "b", "cccc3333": "cccc",
    }  # fmt: skip


def test_a_run_has_one_worker(store: Store) -> None:
    """The second who asks for the lock is told who has it (row 10)."""
    run, held = store.create(ASKED, "r")
    assert is_busy(run)
    with pytest.raises(BusyError, match=f"process {os.getpid()}"):
        lock(run)
    with pytest.raises(BusyError):
        store.remove(run)
    held.close()
    assert not is_busy(run)
    lock(run).close()


def test_the_lock_of_a_dead_coordinator_is_waited_for(store: Store) -> None:
    """While its launchers are still ending its jobs they hold the lock, too; then it is ours."""
    run, held = store.create(ASKED, "r")
    held.close()
    script = (
        "import sys, os, time; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from manyhands.runs import Store, lock\nheld = lock(Store(Path(sys.argv[2])).find('r'))\n"
        "if os.fork() == 0: time.sleep(0.4); os._exit(0)\nos._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(LIB), str(store.state)], check=True, timeout=20)
    assert is_busy(run)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        __import__("time").sleep(seconds)

    lock(run, sleep=nap).close()
    assert naps


def test_removing(store: Store) -> None:
    """A removed run is gone with all its files; what a link in it points to is not touched."""
    run, held = store.create(ASKED, "r")
    outside = store.state / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (run.path / "link").symlink_to(outside)
    held.close()
    store.remove(run)
    assert store.all() == []
    assert (outside / "file").exists()


def test_a_half_made_run_is_not_listed(store: Store) -> None:
    """A folder without run.json, or with another's, is passed over."""
    store.create(ASKED, "good")[1].close()
    (store.root / "half").mkdir()
    (store.root / "other").mkdir()
    (store.root / "other" / "run.json").write_text('{"schema": "other/1"}')
    assert [run.id for run in store.all()] == ["good"]
    with pytest.raises(UsageError, match="another version"):
        store.find("other")


def test_updating(store: Store) -> None:
    """What is asked of a run can be written anew; the rest stays."""
    run, held = store.create(ASKED, "r")
    held.close()
    assert Store.update(run, {"template": "false"}).asked["template"] == "false"
    again = store.find("r")
    assert (again.asked["template"], again.token) == ("false", run.token)
    discard(again)
    assert not run.path.exists()


@pytest.mark.parametrize("trouble", ["file", "link", "loose", "missing parent is made"])
def test_a_state_folder_that_cannot_be_trusted_is_refused(tmp_path: Path, cli: Cli, trouble: str) -> None:
    """Before anything is run, with 73, and nothing is followed or written over (row 9)."""
    state = tmp_path / "deep" / "state"
    target = tmp_path / "target"
    target.mkdir()
    state.parent.mkdir()
    if trouble == "file":
        state.write_text("precious")
    elif trouble == "link":
        state.symlink_to(target)
    elif trouble == "loose":
        state.mkdir()
        state.chmod(0o777)
    else:
        state.parent.rmdir()
    result = cli("batch", "touch ran", "--state-dir", str(state), "--", "x")
    if trouble == "missing parent is made":
        assert result.returncode == 0
        return
    assert result.returncode == 73, result
    assert result.stderr.count("\n") == 1
    assert str(state) in result.stderr
    assert not (tmp_path / "ran").exists()
    assert list(target.iterdir()) == []
    assert trouble != "file" or state.read_text() == "precious"


def test_a_folder_of_somebody_else_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where root could write (row 9)."""
    store.state.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(CannotCreateError, match="another user"):
        store.create(ASKED)


def test_a_read_only_folder_is_refused() -> None:
    """It says so, and names the way out (row 9). Root may write anywhere, so then this is tried as nobody."""
    script = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from manyhands.runs import Store\nfrom manyhands.errors import CannotCreateError\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "state = Path(sys.argv[2]) / 'state'; state.mkdir(); state.chmod(0o555)\n"
        "try: Store(state).create({})\nexcept CannotCreateError as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        command = [sys.executable, "-c", script, str(LIB), folder]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "read-only" in out.stdout


def test_where_runs_are_kept(tmp_path: Path) -> None:
    """By the XDG rules: a relative XDG_STATE_HOME is ignored."""
    assert default_state_dir({"XDG_STATE_HOME": "/x"}) == Path("/x/manyhands")
    assert default_state_dir({"XDG_STATE_HOME": "x"}) == tmp_path / ".local/state/manyhands"
