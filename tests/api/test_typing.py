"""Small programs as their users write them, under ``mypy --strict``: what they get has the right type, and what is wrong is found.

Each ends with a function that is never called; the lines marked with WRONG are those that mypy is to complain of, and no others.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HERE

PROGRAMS = {
    "commands": """
        from pathlib import Path
        from typing import assert_type
        from manyhands import Outcome, Results, Status, run_batch

        def failed(run: Results[None]) -> list[Outcome[None]]:
            return [one for one in run if one.status is not Status.OK]

        run = run_batch("test -d {}", [Path("/"), "/nosuch", b"/bin"], jobs=2, timeout="1m", ordered=True)
        assert_type(run, Results[None])
        print([one.input for one in failed(run)])
        """,
    "values of a function": """
        from math import sqrt
        from typing import assert_type
        from manyhands import JobFailedError, run_batch

        if __name__ == "__main__":
            for outcome in run_batch(sqrt, [4, 9.0, -1], ordered=True):
                assert_type(outcome.value if outcome.ok else 0.0, float)
                if outcome.ok:
                    print(outcome.value + 1)
                elif isinstance(outcome.exception, ValueError):
                    print("none")

        def mistake() -> None:
            run_batch(sqrt, ["four"])  # WRONG: str is no number
        """,
    "results of a map": """
        from typing import assert_type
        from manyhands import JobFailedError, MapResults, map_batch

        def half(number: int) -> float:
            return number / (number != 3) / 2

        if __name__ == "__main__":
            print(sum(map_batch(half, range(3), jobs=1)))
            found = map_batch(half, [2, 3], jobs=1, return_exceptions=True)
            assert_type(found, MapResults[float | JobFailedError])
            print([one if isinstance(one, float) else one.error.partition(":")[0] for one in found])

        def mistake() -> None:
            map_batch(half, [1, "2"])  # WRONG: an element is no int
            map_batch(half, [1], job=2)  # WRONG: there is no such argument
        """,
    "several arguments": """
        from typing import assert_type
        from manyhands import Results, run_batch

        def area(width: int, height: float, unit: str = "m") -> str:
            return f"{width * height:g} {unit}2"

        if __name__ == "__main__":
            rows = [(1, 2.5), (2, 3)]
            by_place = run_batch(area, rows, ordered=True, backend="threads")
            by_name = run_batch(area, [{"width": 1, "height": 2, "unit": "km"}], backend="threads")
            assert_type(by_place, Results[str])
            print([one.value.upper() for one in by_place], [one.value for one in by_name])

        def mistake() -> None:
            run_batch(area, [("1", 2.0)])  # WRONG: the first column is a str
        """,
    "an async function in an event loop": """
        import asyncio
        from typing import assert_type
        from manyhands import run_batch

        async def size(url: str) -> int:
            await asyncio.sleep(0)
            return len(url)

        async def main() -> None:
            async with run_batch(size, ["a", "bb"], backend="asyncio", ordered=True) as run:
                async for outcome in run:
                    assert_type(outcome.value, int)
                    print(outcome.input, outcome.value.bit_length())
            print(run.summary.jobs if run.summary else None)

        asyncio.run(main())
        """,
    "groups and stages": """
        from typing import Any, assert_type
        from manyhands import Results, run_batch

        def total(numbers: list[int]) -> int:
            return sum(numbers)

        def text(number: int) -> str:
            return f"<{number}>"

        if __name__ == "__main__":
            groups = run_batch(total, [1, 2, 3], max_args=2, ordered=True, backend="threads")
            assert_type(groups, Results[int])
            stages = run_batch(text, [1], then=[str.upper], backend="threads")
            assert_type(stages, Results[Any])
            print([one.value for one in groups], [one.value for one in stages])
        """,
    "sources": """
        from pathlib import Path
        from manyhands import Csv, Glob, Lines, Product, Source, run_batch

        Path("hosts.csv").write_text("host,port\\\\na,1\\\\nb,2\\\\n")
        Path("names").write_text("x\\\\ny\\\\n")

        def inputs() -> list[Source]:
            return [Csv("hosts.csv"), Product([Lines("names"), Lines("names")]), Glob(["*.csv"])]

        for command, source in zip(["echo {host}:{port}", "echo {1}{2}", "echo {.}"], inputs()):
            print([one.stdout.text.strip() for one in run_batch(command, source, ordered=True)])
        """,
    "chains of commands": """
        import re
        from manyhands import CommandError, PipelineResult, answer, check_output, pipe, retry, watch

        def counted(result: PipelineResult) -> int:
            return int(result.stdout or b"0")

        print(counted(pipe(["printf", r"a\\\\nb\\\\n"], ["wc", "-l"], check=True)), check_output(["printf", "x"], timeout=5).decode())
        try:
            retry(["sh", "-c", "exit 7"], times=2, backoff=0.01, check=True)
        except CommandError as error:
            print(error.result.returncode)
        (look,) = watch(["echo", "ready"], until=re.compile(b"ready"))
        said = answer(["sh", "-c", "printf 'name? '; read name; echo $name"], {"name\\\\?": "me"}, timeout=10)
        print(look.met, said.end.returncode, said.screen.split()[-1])
        """,
    "processes and the machine": """
        import signal, subprocess
        from manyhands import Fate, Level, ProcessInfo, Selector, check_host, host_info, identity, list_processes, stop_process, wait

        def oldest(found: list[ProcessInfo]) -> ProcessInfo:
            return max(found, key=lambda one: one.age)

        with subprocess.Popen(["sleep", "60"]) as child:
            chosen = oldest(list_processes(Selector(pids=[child.pid])))
            for one in stop_process(chosen, signal=signal.SIGINT, grace=5, descendants=False):
                print(one.fate is Fate.ENDED, one.signal)
        print(wait(pid=child.pid, timeout=5), wait(file="/", timeout=0), host_info().memory.total > 0, identity().pid > 1)
        print([one.level is Level.OK for one in check_host(disks={"/": "100%"}, zombies=100_000)])
        """,
    "errors": """
        from manyhands import InputError, ManyhandsError, Template, UsageError, run_batch

        def attempt(command: str | Template, inputs: list[str]) -> str:
            try:
                return str([one.exit for one in run_batch(command, inputs, check=True)])
            except UsageError as error:
                return f"{type(error).__name__} {error.exit_code}"
            except ManyhandsError as error:
                return f"{type(error).__name__}"

        print(attempt("echo {", ["a"]), attempt("false", ["a"]), attempt(Template.each_line(), ["true"]), issubclass(InputError, UsageError))
        """,
}
"""Ten programs; what they print is in `PRINTED`."""
PRINTED = {
    "commands": "['/nosuch']\n",
    "values of a function": "3.0\n4.0\nnone\n",
    "results of a map": "1.5\n[1.0, 'ZeroDivisionError']\n",
    "several arguments": "['2.5 M2', '6 M2'] ['2 km2']\n",
    "an async function in an event loop": "a 1\nbb 2\n2\n",
    "groups and stages": "[3, 3] ['<1>']\n",
    "sources": "['a:1', 'b:2']\n['xx', 'xy', 'yx', 'yy']\n['hosts']\n",
    "chains of commands": "2 x\n7\nTrue 0 me\n",
    "processes and the machine": "True 2\nTrue True True True\n[True, True]\n",
    "errors": "TemplateError 2 JobFailedError [0] True\n",
}


def written(name: str, folder: Path) -> Path:
    path = folder / f"{name.replace(' ', '_')}.py"
    path.write_text("\n".join(line[8:] for line in PROGRAMS[name].replace("\\\\", "\\").split("\n")))
    return path


def test_mypy_finds_what_is_wrong_and_nothing_else(tmp_path: Path, environment: dict[str, str]) -> None:
    """An element that the function cannot take, and an argument that there is not, in their lines; all else is well typed."""
    wrong = set()
    for name in PROGRAMS:
        path = written(name, tmp_path)
        lines = enumerate(path.read_text().splitlines(), 1)
        wrong |= {(path.name, number) for number, line in lines if "# WRONG" in line}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--cache-dir",
            str(tmp_path / "cache"),
            *sorted(path.name for path in tmp_path.glob("*.py")),
        ],
        cwd=tmp_path,
        env={**environment, "MYPYPATH": str(HERE / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {(file, int(line)) for file, line in re.findall(r"^(\w+\.py):(\d+): error", done.stdout, re.MULTILINE)}
    assert found == wrong, done.stdout + done.stderr
    assert len(wrong) == 4
    assert 'Unexpected keyword argument "job"' in done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_does_what_its_types_say(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """It runs, and prints what it is to print."""
    done = subprocess.run(
        [sys.executable, written(name, tmp_path).name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == (PRINTED[name], "", 0)


def test_a_name_that_is_not_public_is_found_by_mypy(tmp_path: Path, environment: dict[str, str]) -> None:
    """The names that are loaded when they are used are not any names for a type checker."""
    (tmp_path / "program.py").write_text("from manyhands import run_bacth\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--cache-dir",
            str(tmp_path / "cache"),
            "program.py",
        ],
        cwd=tmp_path,
        env={**environment, "MYPYPATH": str(HERE / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Module "manyhands" has no attribute "run_bacth"; maybe "run_batch"?' in done.stdout
