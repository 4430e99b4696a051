"""Messages of a queue: what was packed comes back exactly, and anything else is refused, whatever it is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from manyhands.backends.protocol import Ended
from manyhands.backends.queue import messages, reports
from manyhands.backends.queue.attempt_messages import attempts_of, ids_of, parcel, row_of, why_none
from manyhands.backends.queue.messages import NotOursError, unpacked
from manyhands.backends.queue.plain_ends import ends_of, is_plain, packed_ends
from manyhands.backends.queue.run_settings import RunSettings, described
from manyhands.backends.settings import CommandSettings, FunctionSettings
from manyhands.core.attempt import Attempt, Ending, Job, Output
from manyhands.work.function import Call

ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=6), inner, max_size=4),
)
COMMAND = CommandSettings(
    slots=2, outputs=Path("/o"), token="t", environment={b"A": b"\xff"}, workdir=Path("w"), stdin=Path("in"), nice=3
)


def message_of(*attempts: Attempt, call: Call | None = None) -> bytes:
    return parcel([row_of(one, call) for one in attempts])


def a_call(**more: Any) -> Call:
    return Call(text="images:thumbnail", folder="/", **more)


def plain(number: int = 7, **more: Any) -> Ended:
    ending = Ending(exit=0, wall=1.5, user=0.25, max_rss=5, slot=2, result=b'"\xc3\xa9"')._replace(**more)
    return Ended(Attempt(Job(number, b"", ()), 2, ()), 10.0, ending, pid=99)


def ended(**more: Any) -> Ended:
    ending = Ending(
        exit=0, wall=1.5, stdout=Output(b"\xff\0", None, 2), stderr=Output(b"text", None, 9, 5), slot=2, **more
    )
    return Ended(Attempt(Job(7, b"", ()), 2, ()), 10.0, ending, pid=99)


@given(some.lists(some.binary(min_size=1, max_size=20), min_size=1, max_size=4))
def test_any_arguments_survive(argv: list[bytes]) -> None:
    """Byte by byte."""
    given = Attempt(Job(3, b"", ()), 2, (*argv, (b"a", b"b")))
    found = attempts_of(unpacked(message_of(given, given._replace(number=3)), "attempts"), None)
    assert [(one.id, one.argv) for one in found.values()] == [((3, 2), given.argv), ((3, 3), given.argv)]


@given(some.lists(some.lists(some.binary(max_size=20), min_size=1, max_size=3), min_size=1, max_size=5))
def test_any_inputs_survive(inputs: list[list[bytes]]) -> None:
    """Byte by byte, each where it was."""
    given = [Attempt(Job(at, b"", tuple(values)), 1, ()) for at, values in enumerate(inputs, 1)]
    data = message_of(*given, call=a_call())
    found = attempts_of(unpacked(data, "attempts"), a_call())
    assert [(id, one.job.values) for id, one in found.items()] == [(one.id, one.job.values) for one in given]
    assert [*ids_of(data)] == [one.id for one in given]


@given(some.binary(max_size=50))
def test_any_output_survives(output: bytes) -> None:
    """As text, or as base64."""
    assert messages.to_output(json.loads(json.dumps(messages.of_output(output)))) == output


def test_an_end_comes_back() -> None:
    """All that is told of it."""
    message = unpacked(reports.ended("c", ended(error="e", result=b'{"a":1}'), 10.25, stopped=True), "ended")
    end = reports.end_of(message)
    assert (messages.attempt_id(message), end.ago, end.began, end.stopped, end.pid) == ((7, 2), 0.25, True, True, 99)
    assert (end.ending.exit, end.ending.error, end.ending.result) == (0, "e", b'{"a":1}')
    assert (end.outputs, end.sizes) == ((b"\xff\0", b"text"), ((2, 0), (9, 5)))


def test_an_end_leaves_out_what_is_not_there() -> None:
    """A message is as long as what it has to tell; what is left out comes back as nothing."""
    report = Ended(Attempt(Job(7, b"", ()), 2, ()), 10.0, Ending(exit=0, slot=1, result=b"1"), pid=99)
    message = unpacked(reports.ended("c", report, 10.0, stopped=False), "ended")
    assert message.keys() == {"type", "consumer", "job", "attempt", "ago", "pid", "slot", "exit", "result"}
    end = reports.end_of(message)
    assert (end.began, end.died, end.stopped, end.ending) == (True, False, False, report.ending)
    assert (end.outputs, end.sizes) == ((b"", b""), ((0, 0), (0, 0)))
    recalled = unpacked(reports.ended("c", report._replace(began=False), 10.0, stopped=True), "ended")
    assert (reports.end_of(recalled).began, reports.end_of(recalled).stopped) == (False, True)


def test_plain_ends_come_back_together() -> None:
    """Each with all that is told of it, at its own moment."""
    given = [plain(), plain(number=8, result=None, wall=1e-6, user=2e7)]
    assert all(map(is_plain, given))
    first, second = ends_of(unpacked(packed_ends("c", given, 10.25), "ends"), 100.0)
    assert (first.id, first.at, first.pid, second.id) == ((7, 2), 99.75, 99, (8, 2))
    for one, report in ((first, given[0]), (second, given[1])):
        assert one.ending._replace(started=None) == report.ending._replace(host="c")


@pytest.mark.parametrize(
    "more",
    [
        {"exit": 1},
        {"signal": 9},
        {"error": "e"},
        {"traceback": "t"},
        {"leftovers": 1},
        {"still_running": True},
        {"stdout": Output(b"x", None, 1)},
        {"stderr": Output(b"", "/file", 1)},
        {"result": b"\0pickle"},
        {"result": b"[" * 500 + b"]" * 500},
    ],
)
def test_other_ends_are_told_apart(more: dict[str, Any]) -> None:
    """One of which there is more to tell is no plain one, nor is one without a beginning."""
    assert not is_plain(plain(**more))
    assert not is_plain(plain()._replace(began=False))
    assert not is_plain(plain()._replace(died=True))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("result", ["1", "]"]),
        ("result", ["1", "\ud800"]),
        ("result", ["1", '\0"x"']),
        ("result", ["[1", "2]"]),
        ("wall", [1, -1]),
        ("wall", [1, 1.0]),
        ("job", [1, True]),
        ("slot", [1]),
        ("pid", []),
        ("ago", [1, 1 << 63]),
        ("pid", [1, 1 << 53]),
    ],
)
def test_a_wrong_column_is_refused(column: str, values: list[Any]) -> None:
    """The whole message is: nothing of it is taken before all of it is checked."""
    message = json.loads(packed_ends("c", [plain(), plain(number=8)], 10.0))
    message[column] = values
    with pytest.raises(NotOursError):
        ends_of(unpacked(json.dumps(message).encode(), "ends"), 100.0)


@given(some.lists(some.binary(max_size=20), min_size=1, max_size=200), some.integers(1, 70))
def test_parcels_hold_all_in_order(texts: list[bytes], most: int) -> None:
    """Each message comes out once, in order, and no parcel holds more than it may."""
    packed = [messages.packed({"text": messages.as_text(one)}) for one in texts]
    parts = [*messages.parcels(packed, most)]
    assert [one for part in parts for one in messages.opened(messages.parcel(part))] == packed
    assert all(1 <= len(part) <= most for part in parts)


def test_large_messages_travel_alone() -> None:
    """A parcel is no larger than a message may be, however many there are."""
    packed = [b"x" * (messages.LARGEST - 1), b"y", b"z"]
    assert [len(part) for part in messages.parcels(packed)] == [1, 2]
    assert [*messages.parcels([])] == []


@pytest.mark.parametrize("data", [None, 5, b" " * (messages.LARGEST + 1), b""])
def test_what_is_no_parcel_is_one_message(data: object) -> None:
    """Which is refused then."""
    assert [*messages.opened(data)] == [data]


def test_settings_come_back() -> None:
    """For commands and for functions."""
    found = RunSettings.parse(described(COMMAND))
    assert (found.environment, found.workdir, found.stdin, found.nice) == ({b"A": b"\xff"}, b"w", b"in", 3)
    assert found.call is None
    function = FunctionSettings(
        slots=2, outputs=Path("/o"), token="t", environment={b"MH_RUN": b"r"}, workdir=Path("."), call=a_call(type="int")
    )
    found = RunSettings.parse(described(function))
    assert found.call is not None
    assert (found.call.text, found.call.type, found.is_plain) == ("images:thumbnail", "int", True)


def test_settings_of_another_version_are_refused() -> None:
    """Both versions are told."""
    message = json.loads(described(COMMAND)) | {"version": messages.VERSION - 1}
    with pytest.raises(NotOursError, match=f"of version {messages.VERSION - 1}, and this is {messages.VERSION}"):
        RunSettings.parse(json.dumps(message).encode())


@pytest.mark.parametrize("function", ["images", "images.py:f", "/x/y.py:f", "a:b:c", ":f", "a:", "a b:f", "a:f\n"])
def test_a_function_is_a_name(function: str) -> None:
    """No file, and nothing else that would be looked for elsewhere."""
    message = json.loads(
        described(
            FunctionSettings(slots=1, outputs=Path("/o"), token="t", environment={}, workdir=Path("."), call=a_call())
        )
    )
    message["function"]["name"] = function
    with pytest.raises(NotOursError):
        RunSettings.parse(json.dumps(message).encode())


def test_no_pickle_travels() -> None:
    """Neither as an input, nor as a result, nor as an exception; in neither direction."""
    for value in (b"\x80\x05K\x05.", b"\0\0\0\0\1xpickle"):
        attempt = Attempt(Job(1, b"", (value,)), 1, (b"f", value))
        assert "JSON cannot hold" in (why_none(attempt, a_call(type="object")) or "")
        with pytest.raises(NotOursError, match="pickle"):
            attempts_of(unpacked(message_of(attempt, call=a_call(type="object")), "attempts"), a_call(type="object"))
    sealed = b"\0" + (5).to_bytes(4, "little") + b"{1, 2}"[:5] + b"pickle"
    message = unpacked(reports.ended("c", ended(result=sealed), 10.0, stopped=False), "ended")
    assert ("result" in message, message["exit"]) == (False, 1)
    assert "JSON cannot hold" in message["error"]
    message["result"] = sealed.decode()
    with pytest.raises(NotOursError, match="no JSON"):
        reports.end_of(message)


@given(ANYTHING, some.sampled_from(["", "attempts", "ended", "ends", "piece", "run", "started"]))
def test_anything_else_is_refused(value: Any, type: str) -> None:
    """With `NotOursError` and nothing else, wherever it stands."""
    if isinstance(value, dict) and type:
        value["type"] = type
    data = json.dumps(value).encode()
    for read in (
        lambda: attempts_of(unpacked(data, "attempts"), None),
        lambda: attempts_of(unpacked(data, "attempts"), a_call()),
        lambda: ids_of(data),
        lambda: ends_of(unpacked(data, "ends"), 0.0),
        lambda: reports.end_of(unpacked(data, "ended")),
        lambda: reports.piece_of(unpacked(data, "piece")),
        lambda: RunSettings.parse(data),
    ):
        with pytest.raises(NotOursError):
            read()


@given(some.data())
def test_a_message_with_one_wrong_part_is_refused_or_read(data: some.DataObject) -> None:
    """Whatever one of its parts is changed to."""
    for good, read in (
        (reports.ended("c", ended(), 10.0, stopped=False), lambda found: reports.end_of(unpacked(found, "ended"))),
        (described(COMMAND), RunSettings.parse),
        (
            message_of(Attempt(Job(1, b"", ()), 1, (b"x",))),
            lambda found: attempts_of(unpacked(found, "attempts"), None),
        ),
        (packed_ends("c", [plain(), plain(number=8)], 10.0), lambda found: [*ends_of(unpacked(found, "ends"), 0.0)]),
    ):
        message = json.loads(good)
        message[data.draw(some.sampled_from(sorted(message)))] = data.draw(ANYTHING)
        try:
            read(json.dumps(message).encode())
        except NotOursError:
            continue


@pytest.mark.parametrize(
    "data",
    [None, 5, "text", b"", b"\xff", b"5", b"[" * 100_000, b"{" * 100_000, b'{"type":NaN}', b" " * (messages.LARGEST + 1)],
)
def test_what_is_no_message(data: object) -> None:
    """No bytes, no JSON, too deep, too large."""
    with pytest.raises(NotOursError):
        unpacked(data, "attempts")


def test_numbers_are_finite() -> None:
    """Python's JSON reads more than JSON has."""
    for value in (math.nan, math.inf, -1.0, True, "1", None):
        with pytest.raises(NotOursError):
            messages.seconds({"x": value}, "x")
