"""The scenes of the tour as tasks: their options come from the table of contents, so that all have the same names and help."""

from __future__ import annotations

from typing import Any, Final, Literal

from invoke import Context

from manyhands.cli.task import Task
from manyhands.options.common import Picture
from manyhands.options.declaration import Declared, Said, declared_in
from manyhands.tour.contents import METAVARS, OPTIONS, SCENES, Scene

_SHOWING: Final = {"timeline": False, "trace": None, "output": None, "open": False, "source": False, "json": False}
_PICTURE: Final = {one.name: one.said for one in declared_in(Picture)}


def scene_tasks() -> list[Task]:
    """One task for each scene."""
    return [_task(scene) for scene in SCENES.values()]


def _task(scene: Scene) -> Task:
    def body(_ctx: Context, **given: Any) -> int:
        from manyhands.tour import handlers

        return handlers.show(scene.name, {one.name: one.default for one in declared()} | given)

    def declared() -> list[Declared]:
        return [_declared(scene, name, default) for name, default in options_of(scene).items()]

    body.__doc__ = f"{scene.title}."
    body.__name__ = scene.name.replace("-", "_")
    return Task(body, name=scene.name, declared=declared, listed=False)


def options_of(scene: Scene) -> dict[str, Any]:
    """All its options and their defaults."""
    broken = {"broken": False} if scene.broken else {}
    return {**scene.options, "scale": 1.0, **broken, **_SHOWING}


def _explained(text: str, default: Any) -> str:
    """The help of an option, with what can be chosen, and what it is if nobody says so."""
    if isinstance(default, tuple):
        return f"{text}: {', '.join(default)} (default: {default[0]})"
    return text if "(default" in text or not default else f"{text} (default: {default:g})"


def _declared(scene: Scene, name: str, default: Any) -> Declared:
    if name in _PICTURE:
        return Declared(name, type(default) if name == "open" else "str | None", default, _PICTURE[name])
    help_ = _explained({**OPTIONS, **scene.help}[name], default)
    kind: Any = type(default)
    if isinstance(default, tuple):
        kind, default = Literal[default], default[0]
    elif isinstance(default, list):
        kind = "list[str]"
    elif default is None:
        kind = "str | None"
    return Declared(name, kind, default, Said(help_, METAVARS.get(name, ""), positional=name == scene.given))
