"""The scenes of the tour as tasks: their options come from the table of contents, so that all have the same names and help."""

from __future__ import annotations

import inspect
from typing import Any, Final, Literal

from invoke import Context

from manyhands.cli.task import Task
from manyhands.tour.contents import OPTIONS, SCENES, Scene

_SHOWING: Final = {"timeline": False, "trace": None, "source": False, "json": False}


def scene_tasks() -> list[Task]:
    """One task for each scene."""
    return [_task(scene) for scene in SCENES.values()]


def _task(scene: Scene) -> Task:
    def body(_ctx: Context, **given: Any) -> int:
        from manyhands.tour import door

        return door.show(scene.name, {one.name: one.default for one in parameters} | given)

    parameters = [_parameter(*one) for one in options_of(scene).items()]
    first = inspect.Parameter("_ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context)
    body.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]
    body.__doc__ = f"{scene.title}."
    body.__name__ = scene.name.replace("-", "_")
    help_ = {name: _explained({**OPTIONS, **scene.help}[name], default) for name, default in options_of(scene).items()}
    return Task(body, name=scene.name, help=help_, lacking=[scene.given] if scene.given else [], listed=False)


def options_of(scene: Scene) -> dict[str, Any]:
    """All its options and their defaults."""
    broken = {"broken": False} if scene.broken else {}
    return {**scene.options, "scale": 1.0, **broken, **_SHOWING}


def _explained(text: str, default: Any) -> str:
    """The help of an option, with what can be chosen, and what it is if nobody says so."""
    if isinstance(default, tuple):
        return f"{text}: {', '.join(default)} (default: {default[0]})"
    return text if "(default" in text or not default else f"{text} (default: {default:g})"


def _parameter(name: str, default: Any) -> inspect.Parameter:
    kind: Any = type(default)
    if isinstance(default, tuple):
        kind, default = Literal[default], default[0]
    elif isinstance(default, list):
        kind = "list[str]"
    elif default is None:
        kind = "str | None"
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
