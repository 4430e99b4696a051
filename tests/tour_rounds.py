"""All scenes of the tour, several times in a row, with two busy loops beside them: each is seen at least once, and none says that it was
not seen; that the machine was busy is no failure.

By hand: ``python tests/tour_rounds.py --rounds 10``; `invoke dev.soak` does so, and a test does one round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
METHODS = ("fork", "spawn", "forkserver")


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that compute, until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in loops:
            one.kill()
            one.wait()


def played(method: str) -> list[dict[str, Any]]:
    """The verdicts of all scenes."""
    command = [sys.executable, "-m", "manyhands", "tour.all", "--json", "--start-method", method]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rounds(count: int, loops: int = 2) -> tuple[dict[str, Counter[str]], list[str]]:
    """(how often each scene had which verdict, what was wrong)"""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = []
    with busy_loops(loops):
        for number in range(count):
            for one in played(METHODS[number % len(METHODS)]):
                word = one["reason"] or ("seen" if one["status"] == 0 else "not seen")
                found[one["scene"]][word] += 1
                if word == "not seen":
                    wrong.append(f"{one['scene']} was not seen: {one['verdict']}")
    return found, wrong


def main() -> int:
    """0: all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    found, wrong = rounds(parser.parse_args().rounds)
    for scene, verdicts in found.items():
        print(f"{scene:<20}", ", ".join(f"{count} {word}" for word, count in verdicts.most_common()))
    wrong += [f"{scene} was never seen" for scene, verdicts in found.items() if not verdicts["seen"]]
    print(f"{len(found)} scenes:", "; ".join(wrong) or "all well")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
