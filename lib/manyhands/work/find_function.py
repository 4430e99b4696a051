"""Finds a function by its name, such as ``module:function`` or ``file.py:function``: imported once, with one-line errors."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from manyhands.core.errors import UsageError
from manyhands.runtime.quick_exit import keep_usual_exit
from manyhands.runtime.search_path import search

Function = Callable[..., Any]
_importing = threading.RLock()
_LIBRARY: Final = os.path.dirname(os.__file__)


def load(text: str, folder: str) -> Function:
    """The function that ``module:function`` or ``file.py:function`` names, searched in ``folder``, too.

    Raises UsageError if it is not of this form, not importable, does not exist (with a similar name), or is not callable.
    """
    origin, colon, name = text.rpartition(":")
    if not colon or not origin or not name:
        dotted = ".".join(text.split(".")[:-1]), text.split(".")[-1]
        hint = f"; perhaps {dotted[0]}:{dotted[1]}" if all(dotted) and not text.endswith(".py") else ""
        raise UsageError(f"{text!r} names no function: expected module:function or file.py:function{hint}")
    module = _module(origin, folder)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            import difflib

            near = difflib.get_close_matches(part, [one for one in dir(found) if not one.startswith("_")], 1, 0.75)
            raise UsageError(f"{origin} has no {name}" + (f"; did you mean {near[0]}?" if near else ""))
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{text} is not a function but {_article(type(found).__name__)}")
    return found  # type: ignore[no-any-return]  # it is callable


def _module(origin: str, folder: str) -> ModuleType:
    """Import a module by its name or file, from ``folder`` too. Raises UsageError."""
    is_file = origin.endswith(".py") or os.sep in origin
    path = os.path.join(folder, origin)
    home = os.path.dirname(path) if is_file else folder
    search(home)
    module: ModuleType | None = None
    try:
        module = _from_file(path) if is_file else _by_name(origin)
        return module
    except FileNotFoundError as error:
        if is_file and error.filename == path:
            raise UsageError(f"there is no file {origin}") from None
        raise UsageError(_why(origin, error)) from None
    except ModuleNotFoundError as error:
        if error.name and (origin == error.name or origin.startswith(error.name + ".")):
            raise UsageError(f"there is no module {error.name!r}, neither in {folder} nor installed") from None
        raise UsageError(_why(origin, error)) from None
    except BaseException as error:  # a module may raise anything; our own Ctrl-C is raised again
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UsageError(_why(origin, error)) from None
    finally:
        if module is None or not _comes_with_python(module):
            keep_usual_exit()


def _comes_with_python(module: ModuleType) -> bool:
    """Whether it is a module in C, or one of the standard library."""
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ in sys.builtin_module_names
    return os.path.dirname(file) in (_LIBRARY, os.path.join(_LIBRARY, "lib-dynload"))


def _by_name(name: str) -> ModuleType:
    """Import a module by name; what it prints is not output of a job."""
    found = sys.modules.get(name)
    if found is not None and not getattr(getattr(found, "__spec__", None), "_initializing", False):
        return found
    with redirect_stdout(sys.stderr):
        return importlib.import_module(name)


def _from_file(path: str) -> ModuleType:
    """The module of a file; later calls return the same module."""
    with _importing:  # as in Python's own import: no other thread gets an incomplete module
        return _from_file_alone(path)


def _from_file_alone(path: str) -> ModuleType:
    name = Path(path).stem
    loaded = sys.modules.get(name)
    if loaded is not None and os.path.abspath(getattr(loaded, "__file__", None) or "") == os.path.abspath(path):
        return loaded
    if loaded is not None:  # another module has that name: do not replace it
        name = f"{name}@{path}"
        if name in sys.modules:
            return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _why(origin: str, error: BaseException) -> str:
    """One line that says what went wrong in a module, and where."""
    import traceback

    frames = [one for one in traceback.extract_tb(error.__traceback__) if "importlib" not in one.filename]
    last = frames[-1] if frames else None
    place = f" ({os.path.basename(last.filename)}, line {last.lineno})" if last and last.filename != __file__ else ""
    said = " ".join(str(error).split())
    return f"cannot import {origin}: {type(error).__name__}{': ' * bool(said)}{said}{place}"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
