"""Run folders: private, found by a prefix, locked, never made where somebody else could reach them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from conftest import LIB, Cli
from manyhands import run_batch
from manyhands.core.errors import BusyError, CannotCreateError, JournalError, ManyhandsError, UsageError
from manyhands.core.job import Attempt, Ending, Job, Outcome, Status
from manyhands.core.limits import Limits
from manyhands.execution.batch import Batch
from manyhands.handlers.batch_runs import export_run, show
from manyhands.options.runs import ExportOptions, ShowOptions
from manyhands.posix import linux
from manyhands.posix.durable_files import Disk
from manyhands.storage.runs import RunLock, Store, default_state_dir, discard, is_busy, lock
from manyhands.storage.short_ids import short_ids
from manyhands.work.plan import Plan
from manyhands.work.template import Template

pytestmark = pytest.mark.usefixtures("options_typed")

ASKED = {"template": "true", "shell": None, "workdir": "/"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def test_everything_is_private(store: Store) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
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
        "aaaa1111": "aaaa1",
        "aaaa2222": "aaaa2",
        "b": "b",
        "cccc3333": "cccc",
    }


def test_names_are_shown_as_they_were_given(store: Store) -> None:
    """However short, and however much they look like ours; those that we make up are cut."""
    for name in ("nightly", "deadbeef", "x"):
        run, held = store.create(ASKED, name)
        held.close()
        assert (store.short(run), store.find(name).named) == (name, True)
    run, held = store.create(ASKED)
    held.close()
    assert (store.short(run), store.find(run.id).named) == (run.id[:4], False)


def test_the_size_of_a_run_is_what_it_takes_on_the_disk(store: Store) -> None:
    """With all that is in its folders."""
    run, held = store.create(ASKED)
    held.close()
    before = run.size
    (run.outputs / "1.out").write_bytes(os.urandom(1 << 20))
    assert before + (1 << 20) <= run.size <= before + (1 << 20) + (64 << 10)


def test_a_run_has_one_worker(store: Store) -> None:
    """The second who asks for the lock is told who has it."""
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
        "from manyhands.storage.runs import Store, lock\nheld = lock(Store(Path(sys.argv[2])).find('r'))\n"
        "os.set_inheritable(held.descriptor, True)\n"
        "os.posix_spawn('/bin/sh', ['sh', '-c', 'sleep 0.4'], {'PATH': os.environ['PATH']})\nos._exit(0)\n"
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
    assert Store.update(run, {"template": "false"}).record["template"] == "false"
    again = store.find("r")
    assert (again.record["template"], again.token) == ("false", run.token)
    discard(again)
    assert not run.path.exists()


@pytest.mark.parametrize("trouble", ["file", "link", "loose", "missing parent is made"])
def test_a_state_folder_that_cannot_be_trusted_is_refused(tmp_path: Path, cli: Cli, trouble: str) -> None:
    """Before anything is run, with 73, and nothing is followed or written over."""
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
    """Even where root could write."""
    store.state.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(CannotCreateError, match="another user"):
        store.create(ASKED)


def test_a_read_only_folder_is_refused() -> None:
    """It says so, and names the way out. Root may write anywhere, so then this is tried as nobody."""
    script = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from manyhands.storage.runs import Store\nfrom manyhands.core.errors import CannotCreateError\n"
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
    assert default_state_dir({"HOME": str(tmp_path), "XDG_STATE_HOME": "x"}) == tmp_path / ".local/state/manyhands"


def make_twice(store: Store, name: str) -> tuple[list[RunLock], list[BusyError]]:
    """Make one run in two threads at once: the locks that were got, and the refusals."""
    made: list[RunLock] = []
    refused: list[BusyError] = []
    barrier = threading.Barrier(2)

    def make() -> None:
        barrier.wait()
        try:
            made.append(store.create(ASKED, name)[1])
        except BusyError as error:
            refused.append(error)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made, refused


def test_two_who_make_the_same_run(store: Store) -> None:
    """One of them makes it, and holds its lock from its first moment; the other is told that somebody is working on it."""
    for number in range(40):
        made, refused = make_twice(store, f"r{number}")
        assert (len(made), len(refused)) == (1, 1)
        assert refused[0].exit_code == 75
        made[0].close()
    assert not list(store.root.glob(".new-*"))


def test_the_lock_of_a_run_that_is_being_removed(store: Store) -> None:
    """Whoever has opened the lock of a run that goes away meanwhile does not take it for the run's."""
    run, held = store.create(ASKED, "r")

    def remove(_: float) -> None:
        discard(run)
        held.close()

    (run.path / "lock").write_text(json.dumps({"pid": 1 << 22, "start": 1, "boot_id": linux.boot_id()}))
    with pytest.raises(BusyError, match="removed"):
        lock(run, sleep=remove)
    with pytest.raises(BusyError, match="removed"):
        lock(run)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"schema": "manyhands.run/1"}']
)
def test_a_damaged_description_is_one_line(store: Store, content: bytes) -> None:
    """Whatever run.json holds, the run cannot be read, which is said in a line; the others can."""
    run, held = store.create(ASKED, "bad")
    store.create(ASKED, "good")[1].close()
    held.close()
    (run.path / "run.json").write_bytes(content)
    assert [one.id for one in store.all()] == ["good"]
    with pytest.raises(JournalError, match="bad") as raised:
        store.find("bad")
    assert "\n" not in str(raised.value)


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within a value of JSON."""
    if before:
        yield before
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*before, key))


@pytest.mark.parametrize("odd", [None, 3, -1, 1e300, "x", "", [], {}, True, [1], {"a": 1}, ["x"]], ids=repr)
@pytest.mark.parametrize("summed", [True, False])
def test_a_value_of_another_type_is_one_line(store: Store, odd: Any, summed: bool) -> None:
    """Wherever it stands: the run is refused, or done; a file with a checksum is refused whatever has changed in it."""
    plan = Plan(
        work=Template.parse("true {}"),
        source={"kind": "args", "values": ["a", "b"]},
        workdir="/",
        backend="fake",
        environment={"A": "b"},
        limits=Limits(jobs=2),
    )
    run, held = store.create(plan.to_json(), "r")
    held.close()
    good = json.loads((run.path / "run.json").read_text())
    for *way, last in places(good):
        record = json.loads(json.dumps(good))
        if not summed:
            del record["sum"]
        inner = record
        for key in way:
            inner = inner[key]
        unchanged = last == "sum" or json.dumps(inner[last]) == json.dumps(odd)
        inner[last] = odd
        (run.path / "run.json").write_text(json.dumps(record))
        try:
            found = store.find("r")
        except ManyhandsError as error:
            assert "\n" not in str(error)
            continue
        assert not summed or unchanged
        with suppress(ManyhandsError):
            list(Batch.resume(found, {}).events())


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{", '{"pid": "x"}', '{"pid": [], "start": {}, "boot_id": 3}', "\0" * 99]
)
def test_a_damaged_lock_file_names_nobody(store: Store, content: str) -> None:
    """The lock is the open file, not what stands in it."""
    run, held = store.create(ASKED, "r")
    (run.path / "lock").write_text(content)
    with pytest.raises(BusyError, match="another process"):
        lock(run)
    held.close()
    lock(run).close()


def test_a_run_that_cannot_be_written_is_read(store: Store) -> None:
    """On a read-only file system a run is listed as it is, with what its log holds, and cannot be resumed: 74."""
    for name in ("closed", "killed"):
        run, held = store.create(ASKED, name)
        held.close()
        journal = run.journal()
        attempt = Attempt(Job(1, b"k", (b"x",)), 1, ())
        journal.began(attempt)
        journal.ended(Outcome(attempt, Status.OK, Ending(0)))
        journal.commit()
        if name == "closed":
            journal.close()
    shutil.copytree(store.state, store.state.parent / "kept")  # with the log of the one that is still open
    journal.close()
    (store.state.parent / "kept" / "runs" / "killed" / "journal.db-shm").unlink()
    script = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from manyhands.storage.runs import Store, lock\nfrom manyhands.core.errors import JournalError\n"
        "import shutil, tempfile\n"  # of a Python that only root may read
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "for run in Store(Path(sys.argv[2])).all():\n"
        "    print(run.id, dict(run.journal().tally().counts))\n"
        "    try: lock(run)\n    except JournalError as error: print(error.exit_code, error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        shutil.copytree(store.state.parent / "kept", state)
        for path in (Path(folder), state, *state.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        command = [sys.executable, "-c", script, str(LIB), str(state)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in ("closed", "killed"):
        assert f"{name} {{<Status.OK: 'ok'>: 1}}" in out
    assert out.count("74 cannot lock the run") == 2


def test_what_a_program_has_made_is_not_resumed_without_its_name(tmp_path: Path) -> None:
    """The newest that a command has made is taken; where there is none, the program is named."""
    ours, theirs = Store(tmp_path), Store(tmp_path, program="report.py")
    run, held = theirs.create({"template": "x"}, "theirs")
    held.close()
    with pytest.raises(
        UsageError, match=r"made by programs, the newest, thei(rs)?, by report\.py: give the id of one.*batch\.list"
    ):
        ours.find(by_program=False)
    assert ours.find().id == run.id == ours.find("theirs", by_program=False).id
    _, held = ours.create({"template": "x"}, "mine")
    held.close()
    _, held = theirs.create({"template": "x"}, "theirs-again")
    held.close()
    assert ours.find(by_program=False).id == "mine"
    assert ours.find().id == "theirs-again"


def test_a_run_of_somebody_else_is_not_gone_on_with(own_state: Path) -> None:
    """A resume runs what the folder says: another owner, or one who can write there, could say anything."""
    list(run_batch(["true"], ["a"], run_id="mine"))
    run = Store(own_state).find("mine")
    os.chmod(run.path / "journal.db", 0o660)
    with pytest.raises(CannotCreateError, match=r"journal\.db can be written to by others"):
        Batch.resume(run, os.environ)


@pytest.mark.parametrize(
    ("template", "shell"), [("echo *", None), ("echo $(( {} ))", "/bin/bash"), ('sh -c "echo {}"', None)]
)
def test_a_run_whose_template_is_refused_today(
    store: Store, capsys: pytest.CaptureFixture[str], template: str, shell: str | None
) -> None:
    """It can still be looked at and exported; only what would begin something is refused."""
    plan = Plan(work=Template.parse("true"), source={}, limits=Limits(jobs=1), workdir="/")
    run, held = store.create(plan.to_json() | {"template": template, "shell": shell}, "old")
    job = Job(1, b"k", (b"a; b",))
    with closing(run.journal()) as journal:
        journal.began(Attempt(job, 1, ()))
        journal.ended(Outcome(Attempt(job, 1, ()), Status.OK, Ending(0)))
        journal.commit()
    held.close()
    show(ShowOptions(run="old", output=True, state_dir=store.state))
    export_run(ExportOptions(run="old", state_dir=store.state))
    shown = capsys.readouterr().out
    assert template in shown
    assert json.loads(shown.splitlines()[-1])["argv"] == [template, "a; b"]


def test_what_is_left_of_filling_a_run_is_done_when_it_exists(store: Store) -> None:
    """Or cannot be made, so that nothing stays open."""
    seen: list[bool] = []

    def fill(_folder: Path, _disk: Disk, last: ExitStack) -> None:
        last.callback(lambda: seen.append((store.root / "one").exists()))

    store.create(ASKED, "one", fill)[1].close()
    assert seen == [True]
    (store.root / "two").mkdir()
    (store.root / "two" / "in the way").touch()
    with pytest.raises(ManyhandsError):
        store.create(ASKED, "two", fill)
    assert seen == [True, True]


def test_nothing_is_left_of_a_run_that_ctrl_c_kept_from_being_made(store: Store) -> None:
    """Its inputs may be large."""

    def fill(folder: Path, _disk: Disk, _last: ExitStack) -> None:
        (folder / "inputs.1").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.create(ASKED, "one", fill)
    assert list(store.root.iterdir()) == []


def test_no_lock_is_kept_if_what_is_left_fails(store: Store) -> None:
    """Such as a thread that cannot start."""

    def fail() -> None:
        raise RuntimeError

    def fill(_folder: Path, _disk: Disk, last: ExitStack) -> None:
        last.callback(fail)

    with pytest.raises(RuntimeError):
        store.create(ASKED, "one", fill)
    lock(store.find("one")).close()
