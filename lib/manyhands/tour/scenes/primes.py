"""Which numbers are prime? Work that keeps a core busy, done one after another and by several workers."""

from __future__ import annotations

import math
import multiprocessing
import queue
import threading
import time
from typing import Any

from manyhands.tour.scene_tools import doing, tell
from manyhands.tour.seen import Seen, expect

NUMBERS = (
    2,
    142702110479723,
    299593572317531,
    3333333333333301,
    3333333333333333,
    3333335652092209,
    4444444444444423,
    4444444444444444,
    4444444488888889,
    5555553133149889,
    5555555555555503,
    5555555555555555,
    6666666666666666,
    6666666666666719,
    6666667141414921,
    7777777536340681,
    7777777777777753,
    7777777777777777,
    9999999999999917,
    9999999999999999,
)


def is_prime(number: int) -> bool:
    """By trial division: every odd number up to the square root is tried."""
    if number < 2 or (number % 2 == 0 and number != 2):
        return False
    return all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2))


def is_prime_quickly(number: int) -> bool:
    """By the Miller-Rabin test, which these twelve bases make exact below 3.3e24 (Sorenson and Webster, 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if number < 2 or any(number % base == 0 for base in bases):
        return number in bases
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def check(number: int, method: str) -> tuple[int, bool, float]:
    began = time.perf_counter()
    with doing("{number}", number=number):
        found = (is_prime if method == "trial" else is_prime_quickly)(number)
    return number, found, time.perf_counter() - began


def worker(jobs: Any, results: Any, method: str) -> None:
    while (number := jobs.get()) is not None:  # None: there is no more
        results.put(check(number, method))
    results.put(None)


def report(results: list[tuple[int, bool, float]], took: float, by: str) -> None:
    for number, prime, seconds in sorted(results):
        tell(
            "{number:>20} {verdict:<5} {seconds:9.6f} s",
            number=number,
            verdict="prime" if prime else "",
            seconds=seconds,
            by=by,
        )
    tell("{count} checks in {took:.3f} s by {by}", count=len(results), took=took, by=by)


def primes(numbers: list[str], workers: int, via: str, method: str) -> None:
    """One after another, then by workers: a queue of jobs, a queue of results, and a sentinel for each worker."""
    asked = [int(number) for number in numbers] or list(NUMBERS)
    began = time.perf_counter()
    report([check(number, method) for number in asked], time.perf_counter() - began, "one after another")
    kit: Any = multiprocessing if via == "process" else threading
    queue_of: Any = multiprocessing.SimpleQueue if via == "process" else queue.SimpleQueue
    jobs, results = queue_of(), queue_of()
    began = time.perf_counter()
    hands = [
        (kit.Process if via == "process" else kit.Thread)(target=worker, args=(jobs, results, method))
        for _ in range(workers)
    ]
    for hand in hands:
        hand.start()
    for number in asked:
        jobs.put(number)
    for _ in hands:
        jobs.put(None)
    found, ended = [], 0
    while ended < workers:
        result = results.get()
        if result is None:
            ended += 1
        else:
            found.append(result)
    for hand in hands:
        hand.join()
    report(found, time.perf_counter() - began, f"{workers} {via} workers")


def primes_seen(seen: Seen) -> str:
    one, many = seen.all("{count} checks", 2)
    asked = sorted(int(number) for number in seen.options["numbers"]) or sorted(NUMBERS)
    for by in (one.data["by"], many.data["by"]):
        found = [(e.data["number"], e.data["verdict"] == "prime") for e in seen.all("{number") if e.data["by"] == by]
        expect(found == [(number, is_prime_quickly(number)) for number in asked], f"{by}: a verdict is wrong")
    primes = sum(is_prime_quickly(number) for number in asked)
    ratio = one.data["took"] / many.data["took"] if many.data["took"] else 0.0
    return seen.timed(
        f"{len(asked)} numbers, {primes} of them prime, as Miller-Rabin says: {one.data['took']:.2f} s one after another, "
        f"{many.data['took']:.2f} s by {many.data['by']} ({ratio:.2f} times as fast)"
    )
