"""What a batch has to say beside its outcomes reaches the program: as a warning, or, if it was asked for, in the log."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path

import pytest

from manyhands import BatchWarning, InputWarning, Lines, run_batch
from manyhands.api.results import Results
from manyhands.core.events import Event, Finished, Warned
from manyhands.execution.batch_thread import InThread


def nap(seconds: float) -> float:
    """Wait."""
    time.sleep(seconds)
    return seconds


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch says before its first outcome that there is little of something, twice, and what it has chosen."""
    take = InThread.take

    def taking(self: InThread, timeout: float | None = None) -> list[Event]:
        events = take(self, timeout)
        notes: list[Event] = [Warned("few of them"), Warned("few of them"), Warned("threads it is", requested=True)]
        return [*notes, *events] if any(isinstance(one, Finished) for one in events) else events

    monkeypatch.setattr(InThread, "take", taking)


def test_warnings_reach_the_program_once_each(tmp_path: Path, warned: None, caplog: pytest.LogCaptureFixture) -> None:
    """From the line of the program that iterates; what was asked for is no warning."""
    caplog.set_level(logging.INFO, "manyhands")
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert sum(1 for _ in run_batch("true", range(5), state_dir=tmp_path)) == 5
        results: Results = run_batch("true", [1], state_dir=tmp_path)
        next(results)
        results.close()
    assert [(one.category, str(one.message), one.filename) for one in found] == [
        (BatchWarning, "few of them", __file__)
    ] * 2
    assert caplog.messages == ["threads it is"] * 2


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_loses_no_outcome(tmp_path: Path, warned: None) -> None:
    """It is raised where the program iterates, and the batch can be iterated on."""
    with run_batch("true", [1], state_dir=tmp_path) as run:
        with pytest.raises(BatchWarning, match="few of them"):
            next(run)
        assert next(run).status == "ok"


def test_what_auto_has_chosen_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A program that takes warnings for errors may still ask for it."""
    caplog.set_level(logging.INFO, "manyhands")
    with run_batch(nap, [0.02] * 12, backend="auto", jobs=2, state_dir=tmp_path) as run:
        assert sum(1 for _ in run) == 12
    assert any("of the time of the first" in one for one in caplog.messages)


def test_warnings_about_inputs_are_public(tmp_path: Path) -> None:
    """As those about batches are."""
    (tmp_path / "list").write_bytes(b"a\r\nb\r\n")
    with pytest.warns(InputWarning, match="CR LF"):
        assert len(list(Lines(str(tmp_path / "list")))) == 2
