"""``ctx.run`` of our tasks: characters whole across chunks, much output in little time."""

from __future__ import annotations

import sys
import time

import pytest
from invoke import Config, Context, Responder

from manyhands.cli.loaded_tasks import load_tasks
from manyhands.cli.runner import Utf8Local


@pytest.fixture
def ctx() -> Context:
    return Context(Config(overrides={"runners": {"local": Utf8Local}, "run": {"in_stream": False, "hide": True}}))


def test_characters_are_whole_across_chunk_borders(ctx: Context) -> None:
    """invoke's own runner breaks them at every 1000 bytes."""
    text = "a中é" * 30_000
    found = ctx.run(
        f"{sys.executable} -c \"import sys; sys.stdout.buffer.write(('a\\u4e2d\\u00e9' * 30000).encode())\"",
        encoding="utf-8",
    )
    assert found is not None
    assert found.stdout == text


def test_bytes_that_are_no_text_are_replaced(ctx: Context) -> None:
    """Nothing is lost, nothing fails."""
    found = ctx.run("printf 'a\\377b'", encoding="utf-8")
    assert found is not None
    assert found.stdout == "a\ufffdb"


def test_much_output_takes_little_time(ctx: Context) -> None:
    """Linear: twenty megabytes are nothing (with invoke's own runner they take minutes)."""
    began = time.monotonic()
    found = ctx.run("head -c 20000000 /dev/zero | tr '\\0' x")
    assert found is not None
    assert len(found.stdout) == 20_000_000
    assert time.monotonic() - began < 30


def test_prompts_are_still_answered(ctx: Context) -> None:
    """Watchers see what comes."""
    script = "printf 'sure? '; read answer; echo got $answer"
    found = ctx.run(script, watchers=[Responder(r"sure\? ", "yes\n")], encoding="utf-8")
    assert found is not None
    assert found.stdout.endswith("got yes\n")


def test_our_tasks_use_it() -> None:
    """It is the runner of the namespace, under `invoke` and under our program."""
    assert load_tasks().namespace.configuration()["runners"]["local"].__name__ == "Utf8Local"
