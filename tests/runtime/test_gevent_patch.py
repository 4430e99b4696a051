"""In a process that gevent has patched, a batch works, or one line says what does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import LIB

PROGRAM = """
from gevent import monkey; monkey.patch_all()
import sys
sys.path.insert(0, sys.argv[1])
from manyhands import UsageError, map_batch, run_batch
async def double(x): return 2 * x
try:
    print({call})
except UsageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("[one.status.value for one in run_batch('echo {}', ['a', 'b'], jobs=2)]", "['ok', 'ok']"),
        ("[one.value for one in run_batch(abs, [-1, -2], jobs=1, backend='serial')]", "[1, 2]"),
        ("sorted(one.value for one in run_batch(abs, [-1, -2], jobs=2, backend='threads'))", "[1, 2]"),
        ("sorted(one.value for one in run_batch(double, [1, 2], jobs=2, backend='asyncio'))", "[2, 4]"),
        ("list(run_batch(abs, [-1]))", "needs real threads"),
        ("list(run_batch(abs, [-1], backend='gevent'))", "needs real threads"),
        ("map_batch(abs, [-1])", "needs real threads"),
    ],
)
def test_a_patched_program(call: str, said: str) -> None:
    """Nothing hangs."""
    command = [sys.executable, "-c", PROGRAM.replace("{call}", call), str(LIB)]
    done = subprocess.run(command, timeout=100, capture_output=True, text=True)
    assert said in done.stdout, done.stderr


def test_the_statuses_of_commands_in_a_patched_program_are_true() -> None:
    """gevent's loop may take the status of a child first; what the child has started is ended all the same."""
    program = PROGRAM[: PROGRAM.index("async def")] + (
        "from collections import Counter\n"
        "lines = ['sleep 60 & exit 3', 'kill -9 $$', 'true'] * 40\n"
        "print(sorted(Counter((one.exit, one.signal, one.error) for one in run_batch('sh -c {}', lines, jobs=4)).items(), key=str))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(LIB)], timeout=100, capture_output=True, text=True)
    assert done.stdout == "[((0, None, None), 40), ((3, None, None), 40), ((None, 9, None), 40)]\n", done.stderr
