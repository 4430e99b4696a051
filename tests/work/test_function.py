"""Functions are found by name, inputs become arguments exactly, and mistakes are one line before anything runs."""

from __future__ import annotations

import importlib
import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import functions
from manyhands.core.errors import InputError, ManyhandsError, UsageError
from manyhands.core.job import Values
from manyhands.work.find_function import _comes_with_python, load
from manyhands.work.function import Call, encode


@pytest.fixture(autouse=True)
def clean_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test imports, and where from, is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("mine", "broken", "json5x", "statistics2"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


# -- finding a function --------------------------------------------------------------------------------------------------


def test_a_function_is_found_by_module_or_file(tmp_path: Path) -> None:
    """From the folder given, from what is installed, below a class, and from a file anywhere."""
    write(tmp_path, "mine.py", "def go(x): return x\nclass A:\n    @staticmethod\n    def go(x): return -x\n")
    assert load("mine:go", str(tmp_path))(3) == 3
    assert load("mine:A.go", str(tmp_path))(3) == -3
    assert load("math:sqrt", str(tmp_path)) is math.sqrt
    assert load("mine.py:go", str(tmp_path))(3) == 3
    assert load(f"{tmp_path}/mine.py:go", "/")(3) == 3
    assert load(f"{tmp_path}/mine.py:go", "/") is load("mine.py:go", str(tmp_path))


def test_a_file_does_not_take_the_place_of_a_module(tmp_path: Path) -> None:
    """json.py in the user's folder is his, and ours stays ours."""
    import json

    write(tmp_path, "json.py", "def go(x): return 'his'\n")
    assert load("json.py:go", str(tmp_path))(1) == "his"
    assert load("json.py:go", str(tmp_path)) is load("json.py:go", str(tmp_path))
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine", "'mine' names no function: expected module:function or file.py:function"),
        ("os.path.join", "perhaps os.path:join"),
        (":go", "names no function"),
        ("mine:", "names no function"),
        ("nosuch:go", "there is no module 'nosuch', neither in"),
        ("mine.nosuch:go", "there is no module 'mine.nosuch'"),
        ("nosuch.py:go", "there is no file nosuch.py"),
        ("mine:goo", "mine has no goo; did you mean go?"),
        ("mine:zzz", "mine has no zzz"),
        ("mine:number", "mine:number is not a function but an int"),
        ("broken:go", "cannot import broken: ZeroDivisionError: division by zero (broken.py, line 2)"),
        ("broken.py:go", "cannot import broken.py: ZeroDivisionError: division by zero (broken.py, line 2)"),
        ("leaves:go", "cannot import leaves: SystemExit: 3"),
        ("wants:go", "cannot import wants: ModuleNotFoundError: No module named 'nosuch' (wants.py, line 1)"),
        ("syntax:go", "cannot import syntax: SyntaxError"),
    ],
)
def test_what_is_no_function_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong, and where it can be known what is right."""
    write(tmp_path, "mine.py", "def go(x): return x\nnumber = 3\n")
    write(tmp_path, "broken.py", "x = 1\ny = 1 / 0\n")
    write(tmp_path, "leaves.py", "raise SystemExit(3)\n")
    write(tmp_path, "wants.py", "import nosuch\n")
    write(tmp_path, "syntax.py", "def go(:\n")
    with pytest.raises(UsageError) as caught:
        load(text, str(tmp_path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# -- arguments -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("str", (b"a", b"\xff"), ("a", "\udcff")),
        ("bytes", (b"\xff",), (b"\xff",)),
        ("int", (b" 7",), (7,)),
        ("float", (b"1e3",), (1000.0,)),
        ("json", (b"[1, null]", b'"x"'), ([1, None], "x")),
        ("path", (b"a/b",), (Path("a/b"),)),
    ],
)
def test_columns_are_of_the_type_asked_for(kind: Any, values: Values, expected: tuple[Any, ...]) -> None:
    """Each column is one argument; named columns are keyword arguments."""
    call = Call(text="functions:describe", folder="", type=kind)
    assert call.arguments(values) == (expected, {})
    names = tuple("ab"[: len(values)])
    assert call.arguments(values, names) == ((), dict(zip(names, expected, strict=True)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"5", ((5,), {})),
        (b'"x"', (("x",), {})),
        (b"[1, 2]", ((1, 2), {})),
        (b"[[1, 2]]", (([1, 2],), {})),
        (b'{"x": 1}', ((), {"x": 1})),
        (b"null", ((None,), {})),
        (b"[]", ((), {})),
    ],
)
def test_a_line_of_older_runs_is_the_arguments(line: bytes, expected: object) -> None:
    """A list gives them, an object the keyword arguments, anything else is the one."""
    assert Call(text="functions:describe", folder="", type="line").arguments((line,)) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"5", ((5,), {})),
        (b"[1, 2]", (([1, 2],), {})),
        (b"[]", (([],), {})),
        (b'{"x": 1}', ((), {"x": 1})),
        (b"null", ((None,), {})),
    ],
)
def test_a_row_means_the_same_as_in_a_program(row: bytes, expected: object) -> None:
    """An object gives the keyword arguments; anything else, a list, too, is the one argument, as `encode` and back has it."""
    assert Call(text="functions:describe", folder="", type="row").arguments((row,)) == expected
    assert Call(text="functions:describe", folder="", type="object").arguments((encode(json.loads(row)),)) == expected


def test_a_pickle_is_only_read_from_a_program() -> None:
    """Never from a file of inputs, whose bytes anybody may have written."""
    evil = encode((Path("x"),))
    assert evil.startswith(b"\x80")
    with pytest.raises(ValueError, match=r"."):
        Call(text="functions:describe", folder="", type="line").arguments((evil,))
    with pytest.raises(ValueError, match="not of type json"):
        Call(text="functions:describe", folder="", type="json").arguments((evil,))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=1)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_what_a_program_gives_arrives(item: Any) -> None:
    """Type and value, whether it goes as JSON or as a pickle; a tuple is the arguments, a dict the keyword arguments."""
    args, kwargs = Call(text="functions:describe", folder="", type="object").arguments((encode(item),))
    if type(item) is tuple:
        found: Any = args
        assert kwargs == {}
    elif type(item) is dict:
        found = kwargs
        assert args == ()
    else:
        (found,) = args
    assert repr(found) == repr(item)


@given(st.dictionaries(st.integers(), st.integers(), min_size=1))
def test_a_dict_without_names_is_the_one_argument(item: dict[int, int]) -> None:
    """Keyword arguments have names."""
    assert Call(text="functions:describe", folder="", type="object").arguments((encode(item),)) == ((item,), {})


def test_what_cannot_travel_is_an_input_error() -> None:
    """With the beginning of its repr."""
    with pytest.raises(InputError, match="the input <generator"):
        encode(x for x in [1])


# -- identity and checks -------------------------------------------------------------------------------------------------


def renderer(call: Call, columns: tuple[str, ...] = ()) -> Any:
    return call.bind(columns)


def test_the_identity_of_a_job_is_function_and_input() -> None:
    """The same input is another job for another function, or as another type."""
    keys = [
        renderer(Call(text="functions:describe", folder=".")).key((b"a",)),
        renderer(Call(text="functions:describe", folder=".")).key((b"a", b"")),
        renderer(Call(text="functions:describe", folder=".")).key((b"b",)),
        renderer(Call(text="functions:kind", folder=".")).key((b"a",)),
        renderer(Call(text="functions:describe", folder=".", type="bytes")).key((b"a",)),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == renderer(Call(text="functions:describe", folder=".", result="none")).key((b"a",))


def test_a_job_is_known_by_the_same_key_in_every_version() -> None:
    """Or a run that an earlier version began would do its jobs again. What is long stands there by its SHA-256."""
    key = renderer(Call(text="functions:describe", folder=".", type="bytes")).key
    start, long, other = b"ffunctions:describe\0bytes\0", bytes(5000), bytes(4999) + b"1"
    assert key((b"a",)) == blake2b(start + b"1:a", digest_size=16).digest()
    assert key((long, b"a")) == blake2b(start + b"5000#" + sha256(long).digest() + b"1:a", digest_size=16).digest()
    assert (
        len({key((long,)), key((other,)), key((sha256(long).digest(),)), key((b"5000#" + sha256(long).digest(),))}) == 4
    )


@pytest.mark.parametrize(
    ("values", "columns", "said"),
    [
        ((b"1", b"2", b"3", b"4", b"5"), (), "too many positional arguments"),
        ((), (), "missing a required argument: 'x'"),
        ((b"1",), ("y",), "missing a required argument: 'x'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(values: Values, columns: tuple[str, ...], said: str) -> None:
    """With the signature, and what it was to be called with."""
    with pytest.raises(InputError, match="functions:die") as caught:
        renderer(Call(text="functions:die", folder="."), columns).key(values)
    assert said in str(caught.value)


def test_a_first_input_of_the_wrong_type_is_refused() -> None:
    """It is likely that all are; a later one fails by itself."""
    bound = renderer(Call(text="functions:double", folder=".", type="int"))
    with pytest.raises(InputError, match="the input 'x' is not of type int"):
        bound.key((b"x",))
    bound = renderer(Call(text="functions:double", folder=".", type="int"))
    bound.key((b"1",))
    bound.key((b"x",))


def test_functions_that_do_not_tell_their_signature_are_let_through() -> None:
    """Some of C do not."""
    assert renderer(Call(text="builtins:dict", folder=".", type="line")).key((b"[[]]",))


@pytest.mark.parametrize("wrong", [{"type": "list"}, {"result": "yaml"}])
def test_kinds_that_do_not_exist(wrong: dict[str, Any]) -> None:
    """The error names those that do."""
    with pytest.raises(UsageError, match="choose one of"):
        Call(text="a:b", folder=".", **wrong)


def test_a_call_is_written_down_and_read_back() -> None:
    """For run.json; the function itself is found by its name again."""
    call = Call.of(functions.double, type="object", initializer="functions:prepare", initargs=(1, "x"))
    again = Call.from_json(call.to_json())
    assert again == call
    assert again.text == "functions:double"
    assert again.function() is functions.double


def test_a_function_without_a_name_belongs_to_its_program() -> None:
    """Only that can go on with such a run."""
    call = Call.of(lambda x: x)
    assert not call.is_named
    assert call.name.endswith("<lambda>")
    with pytest.raises(UsageError, match="only the same program can continue"):
        Call.from_json(call.to_json()).function()


def test_an_initializer_says_what_went_wrong() -> None:
    """As one line of ours."""
    with pytest.raises(ManyhandsError, match=r"the initializer failed: RuntimeError: cannot prepare \(1,\)"):
        Call(text="functions:double", folder=".", initializer="functions:refuse", initargs=(1,)).prepare()


def test_threads_see_no_module_that_is_half_made(tmp_path: Path) -> None:
    """A file is imported once, by whoever is first; the others wait."""
    path = write(tmp_path, "mine.py", "import time\ntime.sleep(0.2)\ndef go(x): return x\n")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load(f"{path}:go", "/"), range(4)))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("module", "ours"),
    [
        ("math", True),
        ("statistics", True),
        ("sys", True),
        ("functions", False),
        ("pytest", False),
        ("json.decoder", False),
    ],
)
def test_who_may_leave_files_open(module: str, ours: bool) -> None:
    """The program ends without Python's last steps only if no module was imported that may count on them."""
    assert _comes_with_python(importlib.import_module(module)) is ours
