"""Which numbers are prime? Work that keeps a core busy, done one after another and by several workers."""

from __future__ import annotations

import math
import multiprocessing
import os
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
    found = (is_prime if method == "trial" else is_prime_quickly)(number)
    return number, found, time.perf_counter() - began


def report(result: tuple[int, bool, float], by: str) -> None:
    number, prime, seconds = result
    verdict = "prime" if prime else "-"
    tell("{number:>16} {verdict:<5} {seconds:9.6f} s by {by}", number=number, verdict=verdict, seconds=seconds, by=by)


def worker(name: str, jobs: Any, results: Any, method: str) -> None:
    with doing("takes numbers until there is no more"):
        while (number := jobs.get()) is not None:
            results.put((name, check(number, method)))
        results.put(None)


def one_after_another(numbers: list[int], method: str) -> None:
    began = time.perf_counter()
    with doing("checks one after another"):
        for number in numbers:
            report(check(number, method), "me")
    tell("{count} in {took:.3f} s one after another", count=len(numbers), took=time.perf_counter() - began)


def primes(numbers: list[str], workers: int, via: str, method: str) -> None:
    """One after another, then by workers: a queue of jobs, a queue of results, and a sentinel for each worker."""
    asked = [int(number) for number in numbers] or list(NUMBERS)
    one_after_another(asked, method)
    kind: Any = multiprocessing.Process if via == "process" else threading.Thread
    queue_of: Any = multiprocessing.SimpleQueue if via == "process" else queue.SimpleQueue
    jobs, results = queue_of(), queue_of()
    names = [f"worker {n + 1}" for n in range(workers or os.cpu_count() or 1)]
    began = time.perf_counter()
    hands = [kind(target=worker, args=(name, jobs, results, method), name=name) for name in names]
    for hand in hands:
        hand.start()
    for job in [*asked, *(None for _ in hands)]:
        jobs.put(job)
    ended = 0
    while ended < len(hands):
        result = results.get()  # who is done first comes first
        if result is None:
            ended += 1
        else:
            report(result[1], result[0])
    for hand in hands:
        hand.join()
    took = time.perf_counter() - began
    tell("{count} in {took:.3f} s by {workers} workers", count=len(asked), took=took, workers=len(hands))


ENOUGH = 1.0
"""Seconds: of less work the start of the workers, and chance, are too large a part to say who was faster."""


def primes_seen(seen: Seen) -> str:
    one, many = seen.one("{count} in {took:.3f} s one"), seen.one("{count} in {took:.3f} s by")
    asked = [int(number) for number in seen.options["numbers"]] or list(NUMBERS)
    rows = [(e.data["number"], e.data["verdict"] == "prime", e.data["by"]) for e in seen.all("{number", 2 * len(asked))]
    right = [(number, is_prime_quickly(number)) for number in asked]
    alone = [row[:2] for row in rows if row[2] == "me"]
    arrived = [row[:2] for row in rows if row[2] != "me"]
    expect(alone == right, "one after another: a verdict is wrong, or the order")
    expect(sorted(arrived) == sorted(right), "by workers: a verdict is wrong")
    workers = {row[2] for row in rows} - {"me"}
    order = "in the order of the numbers" if arrived == right else "in another order"
    text = (
        f"{len(asked)} numbers, {sum(prime for _, prime in right)} of them prime, as Miller-Rabin says: {one.data['took']:.2f} s "
        f"one after another, {many.data['took']:.2f} s by {len(workers)} of {many.data['workers']} workers, whose results came {order}"
    )
    if one.data["took"] < ENOUGH:
        return f"{text}; so little work does not tell who is faster"
    return seen.timed(f"{text}: {one.data['took'] / many.data['took']:.1f} times as fast")
