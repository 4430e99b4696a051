"""Simulate many seeds: ``python -m simulation --seeds N [--first K]``; the first that fails is told with how to repeat it."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from simulation.simulate import simulate


def main() -> int:
    """0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: 0)")
    parser.add_argument("--go-on", action="store_true", help="do not stop at a failure")
    asked = parser.parse_args()
    began, failed = time.monotonic(), 0
    for seed in range(asked.first, asked.first + asked.seeds):
        try:
            simulate(seed)
        except BaseException as error:
            failed += 1
            sys.stderr.write(f"seed {seed}: {type(error).__name__}: {error}\n")
            if isinstance(error, KeyboardInterrupt) or not asked.go_on:
                traceback.print_exc()
                sys.stderr.write(f"to repeat it: python -m simulation --first {seed} --seeds 1\n")
                return 1
    sys.stderr.write(f"{asked.seeds} seeds, {failed} failed, in {time.monotonic() - began:.1f} s\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
