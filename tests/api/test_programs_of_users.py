"""Small programs as their users write them, each in a process of its own; what they print says that all went well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "a web handler in a thread": (
        """
        import http.server, threading, urllib.request
        from manyhands import run_batch

        def word_count(text):
            return len(text.split())

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = [one.value for one in run_batch(word_count, ["a b", "c"], jobs=2, ordered=True, journal=False, output="keep")]
                self.send_response(200)
                self.end_headers()
                self.wfile.write(repr(found).encode())

            def log_message(self, *_):
                pass

        if __name__ == "__main__":
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=60).read().decode())
            server.shutdown()
        """,
        "[2, 1]\n",
    ),
    "cells of a notebook": (
        """
        cells = [
            "from manyhands import run_batch",
            "from dataclasses import dataclass",
            "@dataclass\\nclass Point:\\n    x: int",
            "def move(x): return Point(x + 1)",
            "points = [one.value for one in run_batch(move, [1, 2], ordered=True)]",
            "print(points, type(points[0]) is Point)",
        ]
        import sys, types
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        for cell in cells:
            exec(cell, main.__dict__)
        """,
        "[Point(x=2), Point(x=3)] True\n",
    ),
    "an async function": (
        """
        import asyncio
        from manyhands import run_batch

        async def fetch(number):
            await asyncio.sleep(0.001)
            return {"number": number}, number / 2

        print([one.value for one in run_batch(fetch, range(3), backend="asyncio", ordered=True)])
        """,
        "[({'number': 0}, 0.0), ({'number': 1}, 0.5), ({'number': 2}, 1.0)]\n",
    ),
    "inside an event loop": (
        """
        import asyncio
        from manyhands import run_batch

        def work():
            return [one.stdout.data.decode().strip() for one in run_batch("echo {}", [1, 2.5], ordered=True)]

        async def main():
            print(await asyncio.to_thread(work))

        asyncio.run(main())
        """,
        "['1', '2.5']\n",
    ),
    "records of a table": (
        """
        import numpy
        from manyhands import run_batch

        def area(width, height):
            return numpy.float64(width) * height

        if __name__ == "__main__":
            records = [{"width": numpy.int64(2), "height": 3.5}, {"height": numpy.float64(1), "width": 4}]
            print([float(one.value) for one in run_batch(area, records, ordered=True)])
            print([one.stdout.data.decode().strip() for one in run_batch("echo {width}x{height}", records, ordered=True)])
        """,
        "[7.0, 4.0]\n['2x3.5', '4x1.0']\n",
    ),
    "a generator, pulled lazily, and left": (
        """
        from pathlib import Path
        from manyhands import run_batch

        def paths():
            number = 0
            while True:
                number += 1
                yield Path(f"file {number}")

        for one in run_batch(["echo", "{/}"], paths(), jobs=2, ordered=True):
            print(one.number, one.input, one.stdout.data.decode().strip())
            if one.number == 3:
                break
        """,
        "1 file 1 file 1\n2 file 2 file 2\n3 file 3 file 3\n",
    ),
    "a script without a main guard": (
        """
        from manyhands import run_batch

        def double(x):
            return 2 * x

        print([one.value for one in run_batch(double, [1, 2], backend="threads", ordered=True)])
        """,
        "[2, 4]\n",
    ),
    "a failure that is met": (
        """
        from manyhands import JobFailedError, run_batch

        class Refused(Exception):
            pass

        def ask(host):
            if host == "b":
                error = Refused(f"{host} says no")
                error.add_note("asked politely")
                raise error
            return host.upper()

        if __name__ == "__main__":
            try:
                for one in run_batch(ask, ["a", "b", "c"], ordered=True, check=True):
                    print(one.value)
            except JobFailedError as error:
                print(error.number, error.given, isinstance(error.__cause__, Refused), error.__cause__.__notes__)
        """,
        "A\n2 b True ['asked politely']\n",
    ),
    "what is not meant": (
        """
        from manyhands import Glob, map_batch, pipe, run_batch

        for wrong in (
            lambda: run_batch("rm -rf {}", "/tmp/x"), lambda: run_batch(len, b"abc"), lambda: map_batch(len, "abc"),
            lambda: run_batch("echo {}", {"a": 1}), lambda: run_batch("echo {}", ["a"], then="cat {}"), lambda: pipe("ls -l", "wc"),
            lambda: Glob("*.py"), lambda: run_batch(len, 5), lambda: run_batch("echo {}", [None]), lambda: run_batch(len, [[]], initargs="ab"),
        ):
            try:
                wrong()
                print("accepted")
            except ValueError as error:
                print("not ours", error)
            except Exception as error:
                print(str(error).count(chr(10)), end=" ")
        print(list(run_batch(len, [])), list(map_batch(len, [])), list(run_batch("echo {}", iter(()))))
        """,
        "0 0 0 0 0 0 0 0 0 0 [] [] []\n",
    ),
    "large arrays there and back, stage after stage": (
        """
        import numpy
        from manyhands import run_batch

        def fill(size):
            return numpy.full(size, 3.0)

        def total(array):
            return array.sum()

        if __name__ == "__main__":
            print([one.value for one in run_batch(fill, [10, 100_000], then=[total], ordered=True, jobs=1)] == [30.0, 300_000.0])
        """,
        "True\n",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_as_its_user_wrote_it(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """Nothing but its own lines, and a good end."""
    text, expected = PROGRAMS[name]
    if "numpy" in text:
        pytest.importorskip("numpy")
    lines = text.split("\n")
    (tmp_path / "program.py").write_text("\n".join(line[8:] for line in lines))
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


@pytest.mark.parametrize("how", ["package", "zip file"])
def test_a_program_that_is_run_as_a_package(how: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """Functions of its main module work on processes, with their own classes and exceptions."""
    package = tmp_path / "work"
    package.mkdir()
    (package / "__main__.py").write_text(
        "from manyhands import run_batch\n"
        "class Odd(Exception): pass\n"
        "def half(x):\n"
        "    if x % 2: raise Odd(x)\n"
        "    return x // 2, x\n"
        "if __name__ == '__main__':\n"
        "    found = list(run_batch(half, [4, 5], ordered=True))\n"
        "    print(found[0].value, type(found[1].exception) is Odd)\n"
    )
    if how == "package":
        (package / "__init__.py").touch()
        command = [sys.executable, "-m", "work"]
    else:
        subprocess.run([sys.executable, "-m", "zipapp", "work", "-o", "work.pyz"], cwd=tmp_path, check=True)
        command = [sys.executable, "work.pyz"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr, done.returncode) == ("(2, 4) True\n", "", 0)
