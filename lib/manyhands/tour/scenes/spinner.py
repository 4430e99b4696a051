"""A spinner turns while something slow is going on, by a thread, a process or a task."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import sys
import threading
import time
from typing import Any

from manyhands.tour.scene_tools import doing, scaled, tell
from manyhands.tour.seen import Seen, expect, times

EVERY = 0.1
"""Seconds between two frames."""


def draw(frame: str) -> None:
    if sys.stdout.isatty():
        print(f"\r{frame} thinking!", end="", flush=True)  # noqa: T201 - this is what the scene is about


def clear() -> None:
    if sys.stdout.isatty():
        print("\r" + " " * 12 + "\r", end="", flush=True)  # noqa: T201


def shapes() -> str:
    """Dots that turn; where the terminal's encoding lacks them, strokes."""
    try:
        "⠇".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return "|/-\\"
    return "⠇⠋⠙⠸⠴⠦"


def spin(turning: Any, done: Any) -> None:
    frames = 0
    for frame in itertools.cycle(shapes()):
        draw(frame)
        frames += 1
        turning.set()
        if done.wait(EVERY):
            break
    clear()
    tell("the spinner has turned; frames: {frames}", frames=frames)


def slow() -> int:
    with doing("a slow call"):
        time.sleep(scaled(3))
    return 42


def spinner(via: str) -> None:
    """An Event says when it is enough; for asyncio, cancelling the task does."""
    if via == "asyncio":
        answer = asyncio.run(supervise())
    else:
        kit: Any = multiprocessing if via == "process" else threading
        kind: Any = multiprocessing.Process if via == "process" else threading.Thread
        turning, done = kit.Event(), kit.Event()
        hand = kind(target=spin, args=(turning, done), name="spinner")
        hand.start()
        turning.wait()
        answer = slow()
        done.set()
        hand.join()
    tell("Answer: {answer}", answer=answer)


async def spin_async() -> None:
    frames = 0
    try:
        for frame in itertools.cycle(shapes()):
            draw(frame)
            frames += 1
            await asyncio.sleep(EVERY)
    finally:
        clear()
        tell("the spinner has turned; frames: {frames}", frames=frames)


async def supervise() -> int:
    turning = asyncio.create_task(spin_async(), name="spinner")
    with doing("a slow call"):
        await asyncio.sleep(scaled(3))  # time.sleep would stop the spinner
    turning.cancel()
    await asyncio.wait([turning])
    return 42


def spinner_seen(seen: Seen) -> str:
    (call,), frames = seen.spans("a slow call", 1), seen.one("the spinner").data["frames"]
    expect(seen.one("Answer").data["answer"] == 42, "the answer is another")
    usual = call.took / EVERY
    expect(max(2, usual / 3) <= frames <= usual + 3, f"the spinner had {frames} frames in {call.took:.2f} s")
    return f"{frames} frames while a call took {call.took:.2f} s ({frames / call.took:.1f} a second), by {seen.options['via']}; Answer: 42"


def spinner_broken(via: str) -> None:  # noqa: ARG001 - asyncio alone can make it
    """time.sleep in an event loop stops everything in it."""
    asyncio.run(supervise_badly())
    tell("Answer: {answer}", answer=42)


async def supervise_badly() -> None:
    turning = asyncio.create_task(spin_async(), name="spinner")
    await asyncio.sleep(0)
    with doing("a slow call"):
        time.sleep(scaled(3))
    turning.cancel()
    await asyncio.wait([turning])


def spinner_broken_seen(seen: Seen) -> str:
    (call,), frames = seen.spans("a slow call", 1), seen.one("the spinner").data["frames"]
    expect(frames <= 2 and call.took > 2 * EVERY, f"the spinner had {frames} frames in {call.took:.2f} s")
    return f"the spinner was drawn {times(frames)} in {call.took:.2f} s: time.sleep held the whole event loop up"
