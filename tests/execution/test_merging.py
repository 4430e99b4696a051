"""The shards of one run become one run: all of its inputs in order, all that was done, or one line that says why they do not fit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from functions import double
from manyhands import run_batch
from manyhands.core.errors import BusyError, JournalError, UsageError
from manyhands.core.job import Status
from manyhands.execution.carrying import created, export_to, import_from
from manyhands.execution.merging import merge
from manyhands.posix.durable_files import Disk
from manyhands.storage.runs import Run, Store, lock
from manyhands.storage.stage_journals import Journals


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def part(store: Store, work: Any, inputs: Any, shard: str, name: str | None = None, **more: Any) -> Run:
    """One shard, done."""
    run_id = name or "s-" + shard.replace("/", "-")
    for _ in run_batch(work, inputs, shard=shard, run_id=run_id, state_dir=store.state, jobs=2, **more):
        pass
    return store.find(run_id)


def parts(store: Store, work: Any, inputs: Any, count: int, **more: Any) -> list[Run]:
    return [part(store, work, inputs, f"{k}/{count}", **more) for k in range(1, count + 1)]


def ends(run: Run) -> list[tuple[int, Any, Status | None, bytes]]:
    """(number, input, status, stdout) of each job."""
    with closing(Journals.open(run)) as journals:
        return [
            (
                one.job.number,
                one.job.values[0],
                one.outcome and one.outcome.status,
                one.outcome.stdout.read() if one.outcome else b"",
            )
            for one in journals.records()
        ]


LARGE = "head -c 100000 /dev/zero; "


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_as_if_one_machine_had_done_all(count: int, store: Store) -> None:
    """The same jobs with the same numbers, inputs and outputs, those that come twice and those with large outputs too; more shards than inputs
    make empty ones."""
    inputs = ["a", "b", "a", "c", "a"]
    command = ["sh", "-c", LARGE + 'echo "$1 $2"; test "$1" != c', "-", "{}", "{#}"]
    found, remark = merge(store, parts(store, command, inputs, count), "all")
    assert remark is None
    alone = part(store, command, inputs, "1/1", name="alone")
    assert ends(found) == ends(alone) and len(ends(found)) == 5
    outputs = [path.name for path in sorted(found.outputs.iterdir())]
    assert outputs == ["1.1.out", "2.1.out", "3.1.out", "4.1.out", "5.1.out"]


def test_the_whole_is_continued_like_any_run(store: Store) -> None:
    """A resume finds nothing to do, a retry does what failed, and more inputs can be given."""
    flag = store.state.parent / "flag"
    command = ["sh", "-c", f'test "$1" != b || test -e {flag}', "-", "{}"]
    merge(store, parts(store, command, ["a", "b", "c"], 2), "all")
    flag.touch()
    again = list(run_batch(command, ["a", "b", "c"], run_id="all", state_dir=store.state, retry_failed=True))
    assert [(one.number, one.status) for one in again] == [(2, Status.OK)]
    more = list(run_batch(command, ["a", "b", "c", "d"], run_id="all", state_dir=store.state))
    assert [(one.number, one.input) for one in more] == [(4, "d")]
    assert [one[1] for one in ends(store.find("all"))] == [b"a", b"b", b"c", b"d"]
    assert not store.find("all").record["shard"]


def test_the_rest_of_the_whole(store: Store) -> None:
    """What a shard had not begun has its number when the whole is resumed."""
    first = part(store, "true {}", ["a", "b", "c", "d"], "1/2")
    for outcome in run_batch(
        "false {}", ["a", "b", "c", "d"], shard="2/2", run_id="s", state_dir=store.state, halt="now,fail=1", jobs=1
    ):
        assert outcome.number in (2, 4)
    with pytest.raises(UsageError, match="they do different work"):
        merge(store, [first, store.find("s")], "all")
    other = part(store, "false {}", ["a", "b", "c", "d"], "1/2", name="other")
    found, _ = merge(store, [other, store.find("s")], "all")
    from manyhands.execution.batch import Batch

    for _ in Batch.resume(found, {}).events():
        pass
    assert [(number, values) for number, values, _, _ in ends(found)] == [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d")]


def test_groups(store: Store) -> None:
    """A job of several inputs is one job of the whole, and stays what it was."""
    inputs = list("abcdefg")
    found, _ = merge(store, parts(store, "echo {}", inputs, 3, max_args=2), "all")
    assert [out for *_, out in ends(found)] == [b"a b\n", b"c d\n", b"e f\n", b"g\n"]
    assert list(run_batch("echo {}", inputs, run_id="all", state_dir=store.state, max_args=2)) == []


def test_stages(store: Store) -> None:
    """Each has its journal and its outputs."""
    found, _ = merge(store, parts(store, "echo {}", ["a", "b", "c"], 2, then=["echo then {}"]), "all")
    assert [out for *_, out in ends(found)] == [b"then a\n", b"then b\n", b"then c\n"]
    assert len(found.stages) == 2


def test_functions_and_large_inputs(store: Store) -> None:
    """Inputs in files of their own are in one file of the whole; pickles are carried and not read."""
    inputs = [(n, "x" * 300 * n) for n in range(1, 5)]
    found, _ = merge(store, parts(store, double_first, inputs, 2, backend="threads"), "all")
    assert [status for _, _, status, _ in ends(found)] == [Status.OK] * 4
    assert list(run_batch(double_first, inputs, run_id="all", state_dir=store.state, backend="threads")) == []


def test_much_is_durable_when_the_parts_may_be_removed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread has to do it later: the command that merges ends."""
    inputs = [(n, "x" * 30_000 * n) for n in range(1, 5)]
    found = parts(store, double_first, inputs, 2, backend="threads")
    synchronised: list[str] = []
    usual = Disk.sync

    def sync(disk: Disk, file: int) -> None:
        synchronised.append(Path(os.readlink(f"/proc/self/fd/{file}")).name)
        usual(disk, file)

    monkeypatch.setattr("manyhands.inputs.value_file._AT_ONCE", 100)
    monkeypatch.setattr(Disk, "sync", sync)
    merge(store, found, "all")
    assert "inputs.1" in synchronised


def double_first(number: int, _: str) -> int:
    return int(double(number))


def test_by_recorded_times(store: Store, tmp_path: Path) -> None:
    """The longest job is alone in its part; parts of another file do not fit."""
    times = tmp_path / "times"
    times.write_text(
        "".join(json.dumps({"input": name, "wall": wall}) + "\n" for name, wall in zip("abcd", (9, 1, 1, 1), strict=True))
    )
    found = parts(store, "echo {#}", list("abcd"), 2, times=times)
    assert [[number for number, *_ in ends(one)] for one in found] == [[1], [2, 3, 4]]
    assert found[0].record["shard"]["times"] == found[1].record["shard"]["times"] != None  # noqa: E711
    other = part(store, "echo {#}", list("abcd"), "2/2", name="other")
    with pytest.raises(UsageError, match="they were divided by different files of times"):
        merge(store, [found[0], other], "all")
    assert [number for number, *_ in ends(merge(store, found, "all")[0])] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("shards", "match"),
    [
        (["1/3", "3/3"], "shard 2 of 3 is missing"),
        (["1/9"], "shard 2, 3, 4, 5, 6 ... of 9 is missing"),
        (["1/2", "1/2"], "r0 and r1 are both shard 1/2"),
        (["1/2", "2/3"], "r0 and r1 are not shards of one run: one is a shard of 2, the other of 3"),
        ([], "no runs to merge"),
    ],
)
def test_what_does_not_fit(shards: Sequence[str], match: str, store: Store) -> None:
    """Gaps, overlaps and other divisions are refused, and nothing is made."""
    runs = [part(store, "true {}", ["a", "b"], shard, name=f"r{n}") for n, shard in enumerate(shards)]
    with pytest.raises(UsageError, match=match):
        merge(store, runs, "all")
    assert store.get("all") is None


def test_other_inputs_and_runs_that_are_no_shards(store: Store) -> None:
    """Are refused, too; so is a name that is there."""
    one, other = part(store, "true {}", ["a", "b"], "1/2"), part(store, "true {}", ["a", "c"], "2/2")
    with pytest.raises(UsageError, match="they were divided from different inputs"):
        merge(store, [one, other], "all")
    list(run_batch("true {}", ["a"], run_id="plain", state_dir=store.state))
    with pytest.raises(UsageError, match="the run plain is no shard"):
        merge(store, [store.find("plain")], "all")
    with pytest.raises(UsageError, match="the run plain exists"):
        merge(store, [one], "plain")


def test_a_shard_that_is_going_on(store: Store) -> None:
    """Is waited for by whoever merges."""
    runs = parts(store, "true {}", ["a", "b"], 2)
    with closing(lock(runs[1])), pytest.raises(BusyError):
        merge(store, runs, "all")
    assert store.get("all") is None


def changed(store: Store, run: Run, name: str, **changes: Any) -> Run:
    """A copy of a run, as an archive whose maker has changed run.json."""
    copy = Store(store.state.parent / f"copy-{name}")
    export_to(run, copy.state.with_suffix(".zip"))
    made = import_from(copy, copy.state.with_suffix(".zip"), run_id=name, trusted=False, most=1 << 24)
    return copy.update(made, changes)


def test_shards_that_lie(store: Store, tmp_path: Path) -> None:
    """Of imported shards nothing is believed: not which jobs they have, nor where their inputs are."""
    secret = tmp_path / "secret"
    secret.write_text("a\n")
    good, second = parts(store, "true {}", ["a", "b"], 2)
    lines = {"kind": "lines", "path": str(secret), "null": False, "separator": None}
    shard = good.record["shard"]
    for n, (changes, match) in enumerate(
        [
            ({"source": lines}, "does not hold its inputs"),
            ({"shard": shard | {"numbers": "2"}}, "twice there|missing"),
            ({"shard": shard | {"numbers": "1-99999999999999"}}, "has not the inputs"),
            ({"shard": shard | {"numbers": "5"}}, "missing"),
        ]
    ):
        with pytest.raises(JournalError, match=match):
            merge(store, [changed(store, good, f"bad-{n}", **changes), second], "all")
    liar = changed(store, good, "liar", shard=second.record["shard"])
    mine = changed(store, second, "mine", shard=shard)
    with pytest.raises(JournalError, match="which is none of shard"):
        merge(store, [liar, mine], "all")
    assert store.get("all") is None and not [*store.root.glob(".new-*")]


def test_what_was_imported_makes_a_whole_that_is_only_read(store: Store) -> None:
    """One shard that nobody has said to trust is enough."""
    first, second = parts(store, "true {}", ["a", "b"], 2)
    found, _ = merge(store, [first, changed(store, second, "imported")], "all")
    assert len(ends(found)) == 2
    for retry in (False, True):
        with pytest.raises(UsageError, match="it can only be read"):
            run_batch("true {}", ["a", "b"], run_id="all", state_dir=store.state, retry_failed=retry)


def test_shards_from_different_checkouts(store: Store, tmp_path: Path) -> None:
    """Fit; the whole runs where the first ran, which is said."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    runs = [part(store, "true {}", ["a", "b"], f"{k}/2", workdir=tmp_path / name) for k, name in ((1, "one"), (2, "two"))]
    found, remark = merge(store, runs, "all")
    assert remark == f"the shards ran in 2 folders; a resume of the whole runs in {tmp_path / 'one'}"
    assert found.record["workdir"] == str(tmp_path / "one")


def test_a_failure_in_the_middle_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is interrupted."""
    runs = parts(store, "true {}", ["a", "b"], 2)

    def interrupted(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr("manyhands.execution.merging.fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merge(store, runs, "all")
    assert store.get("all") is None and not [*store.root.glob(".new-*")]
    with pytest.raises(JournalError, match="no room"):

        def full(*_: object) -> None:
            raise JournalError("no room")

        created(store, "x", runs[0].record, full)
    assert not [*store.root.glob(".new-*")]
