"""What the ``tour`` tasks do."""

from __future__ import annotations

import json as jsons
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from manyhands.core.errors import UsageError
from manyhands.core.extras import install_line
from manyhands.core.limits import Limits
from manyhands.core.safe_text import one_line
from manyhands.execution.benchmark import compare, measure, widths_for
from manyhands.handlers.batch_compare import report
from manyhands.handlers.picture_file import Target, draw, target_of
from manyhands.options.common import Picture
from manyhands.options.tour import AllScenesOptions, CompareWaysOptions, TopicOptions
from manyhands.posix.cores import usable_cores
from manyhands.posix.signals import die_by
from manyhands.tour.contents import SCENES, TOPICS, Scene
from manyhands.tour.narrating import JsonTeller, Narrator, console, show_source, trace
from manyhands.tour.showing import NOT_POSSIBLE, NOT_SEEN, SEEN, Performance, needed, perform, why_not
from manyhands.work.function import Call
from manyhands.work.plan import Plan

_AMOUNT: Final = {"cpu": b"300000", "io": b"10"}
"""Steps, and milliseconds: some 10 ms each."""
_HANDS: Final = ("workers", "washers", "dryers")
_MOST_HANDS: Final = 64
_WORDS: Final = {
    (SEEN, None): ("seen", "green"),
    (NOT_SEEN, None): ("NOT SEEN", "bold red"),
    (NOT_POSSIBLE, "busy"): ("busy", "yellow"),
    (NOT_POSSIBLE, "missing"): ("skipped", "yellow"),
}
_ABOUT_SHOWING: Final = ("timeline", "trace", "output", "open", "source", "json")


def show(name: str, given: Mapping[str, Any]) -> int:
    """Play one scene before the user's eyes; 0 seen, 1 not seen, 3 not possible here. Raises UsageError."""
    scene = SCENES[name]
    options = {key: value for key, value in given.items() if key not in _ABOUT_SHOWING}
    if options.get("broken"):
        options |= only_way(scene, options)
    check(scene, options)
    if given.get("source"):
        if given.get("output"):
            raise UsageError("--output has no effect with --source, which plays nothing")
        show_source(scene, console(), broken=bool(options.get("broken")))
        return 0
    path = given.get("trace")
    if path and not Path(path).absolute().parent.is_dir():
        raise UsageError(f"--trace {path}: there is no such folder")
    target = target_of(Picture(output=given.get("output"), open=bool(given.get("open"))))
    if given.get("timeline") and given.get("json"):
        raise UsageError("--timeline is for people, --json for programs: choose one; --trace goes with both")
    teller: Narrator | JsonTeller
    if given.get("json"):
        teller = JsonTeller(scene)
    else:
        teller = Narrator(console())
        teller.title(scene, broken=bool(options.get("broken")))
    done = perform(scene, options, teller.told, animated=not given.get("json"))
    if given.get("timeline") and isinstance(teller, Narrator):
        teller.timeline(done.seen)
    if path:
        Path(path).write_text(jsons.dumps(trace(done.seen)))
    if done.stopped_by is None:
        teller.verdict(done)
    _draw(target, scene, options, done)
    return leave(done)


def _draw(target: Target | None, scene: Scene, options: Mapping[str, Any], done: Performance) -> None:
    """What was seen, also of a scene that was interrupted."""
    if target is None:
        return
    if not done.seen.events:
        sys.stderr.write(
            f"manyhands: --output {one_line(target.name, 300)}: nothing was seen, so there is nothing to draw\n"
        )
        return
    sys.stdout.flush()
    from manyhands.tour.picture import drawing

    draw(target, lambda: drawing(scene, options, done))


def show_all(options: AllScenesOptions) -> int:
    """Play every scene at a small scale, and print a table of verdicts; 1 if one was not seen, else 0."""
    scale, start_method, json = options.scale, options.start_method, options.json
    if not 0 < scale <= 100:
        raise UsageError(f"--scale {scale}: expected more than 0, and at most 100")
    scenes = chosen(options.topic)
    counts: Counter[str] = Counter()
    longest, to = max(len(scene.name) for scene in scenes), console()
    room = (to.width if to.is_terminal else 10_000) - longest - 20
    for scene in scenes:
        given = usual(scene) | scene.quick | {"scale": scale}
        if "start_method" in scene.options:
            given["start_method"] = start_method
        began = time.monotonic()
        done = perform(scene, given, lambda _: None)
        took = time.monotonic() - began
        if done.stopped_by is not None:
            return leave(done)
        word, style = _WORDS[done.status, done.reason]
        counts[word] += 1
        if json:
            record = {
                "topic": scene.topic,
                "rows": scene.rows,
                "status": done.status,
                "verdict": done.verdict,
                "reason": done.reason,
                "seconds": round(took, 3),
            }
            sys.stdout.write(jsons.dumps({"schema": "manyhands.verdict/1", "scene": scene.name, **record}) + "\n")
        else:
            told = Text(f" {took:5.1f} s  {one_line(done.verdict, room)}")
            to.print(Text(f"{scene.name:<{longest}}  ") + Text(f"{word:<8}", style=style) + told)
        sys.stdout.flush()
    if not json:
        numbers = ", ".join(
            f"{counts[word]} {word.lower()}" for word, _ in _WORDS.values() if counts[word] or word == "seen"
        )
        to.print(Text(f"{len(scenes)} scene{'s' * (len(scenes) != 1)}: {numbers}", style="bold"))
    return NOT_SEEN if counts["NOT SEEN"] else SEEN


def show_list(options: TopicOptions) -> None:
    """Print the table of contents: what there is, and what it needs that is not here."""
    scenes, to, json = chosen(options.topic), console(), options.json
    longest, last = max(len(scene.name) for scene in scenes), None
    room = (to.width if to.is_terminal else 10_000) - longest - 4
    for scene in scenes:
        why, needs = why_not(scene, usual(scene)), needed(scene, usual(scene))
        if json:
            record = {
                "topic": scene.topic,
                "rows": scene.rows,
                "title": scene.title,
                "instead": scene.instead,
                "needs": needs,
                "broken": bool(scene.broken),
                "options": sorted(scene.options),
                "possible": why is None,
                "why_not": why,
            }
            sys.stdout.write(jsons.dumps({"schema": "manyhands.contents/1", "scene": scene.name, **record}) + "\n")
            continue
        if scene.topic != last:
            to.print(Text(("" if last is None else "\n") + scene.topic, style="bold"))
            last = scene.topic
        notes = (
            f" (needs {', '.join(needs)})" * bool(needs)
            + f" — {(why or '').partition(':')[0]}" * bool(why)
            + " [--broken]" * bool(scene.broken)
        )
        to.print(Text(f"  {scene.name:<{longest}}  ", style="cyan") + Text(one_line(scene.title + notes, room)))
    if not json and any("which is not installed" in (why_not(scene, usual(scene)) or "") for scene in scenes):
        to.print(Text(f"\nto play them all: {install_line('tour')}"), soft_wrap=True)


def chosen(topic: str | None) -> list[Scene]:
    """The scenes of a topic, or all. Raises UsageError for a topic that does not exist."""
    if topic is not None and topic not in TOPICS:
        raise UsageError(f"--topic {topic!r}: choose one of {', '.join(TOPICS)}")
    return [scene for scene in SCENES.values() if topic in (None, scene.topic)]


def usual(scene: Scene) -> dict[str, Any]:
    """Its options as they are when nobody asks for others."""
    return {name: value[0] if isinstance(value, tuple) else value for name, value in scene.options.items()}


def compare_ways(options: CompareWaysOptions) -> int:
    """One piece of work on every backend, side by side; returns the exit status. Raises UsageError."""
    work, sample = options.work, options.sample
    if sample < 1:
        raise UsageError(f"--sample {sample}: at least one is needed")
    target = target_of(options)
    values: list[tuple[bytes, ...]] = [(_AMOUNT[work],)] * sample
    plain, waiting = (
        Plan(
            work=Call(text=f"manyhands.tour.works:{name}", folder=os.getcwd(), type="int"),
            source={},
            limits=Limits(jobs=1),
            workdir=os.getcwd(),
            backend="serial",
        )
        for name in (work, f"{work}_async")
    )
    cores = usable_cores()
    tasks = (measure(waiting, values, (), "asyncio", jobs) for jobs in widths_for("asyncio", max(2, cores), sample))
    return report(
        chain(compare(plain, values, (), cores), tasks),
        sample,
        f"tour.compare --work {work}",
        target=target,
        json=options.json,
    )


def leave(done: Performance) -> int:
    """The exit status; dies of the signal that ended the scene."""
    sys.stdout.flush()
    if done.stopped_by is not None:
        die_by(done.stopped_by)
    return done.status


def only_way(scene: Scene, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which alone the mistake of a scene can be made. Raises UsageError for others."""
    for name, value in scene.broken_with.items():
        if options[name] not in (value, usual(scene)[name]):
            raise UsageError(f"--{name} {options[name]} does not have this mistake: leave it out with --broken")
    return scene.broken_with


def check(scene: Scene, options: Mapping[str, Any]) -> None:
    """Raise UsageError for a number that is out of range."""
    if not 0 < float(options.get("scale", 1)) <= 100:
        raise UsageError(f"--scale {options['scale']}: expected more than 0, and at most 100")
    for name, value in options.items():
        usual = scene.options.get(name)
        if isinstance(usual, bool) or not isinstance(usual, int | float):
            continue
        least, most = (1 if usual else 0), (max(_MOST_HANDS, 10 * usual) if name in _HANDS else 1_000_000)
        if isinstance(usual, int) and not least <= value <= most:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected {least} to {most}")
        if isinstance(usual, float) and not 0 <= value <= 3600:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected 0 to 3600 seconds")
    if scene.name in _LEAST:
        name, least, why = _LEAST[scene.name]
        if options[name] < least:
            raise UsageError(f"--{name} {options[name]:g}: expected at least {least}: {why}")
    if further := _FURTHER.get(scene.name):
        further(options)


def _check_dishes(options: Mapping[str, Any]) -> None:
    if not options.get("drunk_dryer"):
        return
    if options["via"] != "process":
        raise UsageError(f"--drunk-dryer: only a process can be killed; leave out --via {options['via']}")
    if options["way"] != "rack":
        raise UsageError(f"--drunk-dryer: it takes its dishes from a rack; leave out --way {options['way']}")
    if options["dryers"] < 2 or options["dishes"] < 2 * options["dryers"]:
        raise UsageError("--drunk-dryer: the others go on, so there must be at least 2 dryers, and 2 dishes for each")


def _check_primes(options: Mapping[str, Any]) -> None:
    most = 10**24 if options.get("method") == "miller-rabin" else 10**17
    for number in options.get("numbers", ()):
        if not number.isdigit() or int(number) >= most:
            raise UsageError(f"{number}: expected whole numbers below {most:g}, so that they can be checked")


def _check_hosts(options: Mapping[str, Any]) -> None:
    for host in options.get("hosts", ()):
        if not all(0 < len(label) < 64 for label in host.split(".")) or len(host) > 250:
            raise UsageError(f"{host!r} cannot be the name of a host")


_LEAST: Final[dict[str, tuple[str, int, str]]] = {
    "brokers": ("jobs", 100, "both consumers must have some in hand"),
    "costs": ("count", 500, "what fewer cost is too little to be measured"),
    "redis-ack": ("dishes", 8, "every dryer must have some before it is killed"),
    "redis-idle": ("idle", 1, "a dish takes half a second"),
}
"""Options of scenes that need more than one of something: how much, and why."""
_FURTHER: Final[dict[str, Callable[[Mapping[str, Any]], None]]] = {
    "dishes": _check_dishes,
    "primes": _check_primes,
    "resolve": _check_hosts,
}
