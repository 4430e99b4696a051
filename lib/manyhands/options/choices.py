"""The words that some options can be, where other modules use them, too."""

from __future__ import annotations

from typing import Literal

Order = Literal["input", "random", "longest"]
"""In which order jobs begin."""
StartMethod = Literal["forkserver", "spawn"]
"""Of multiprocessing; never fork, because programs have threads
(https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods)."""
Column = Literal["str", "int", "float", "json", "path", "bytes"]
"""What ``--type`` can ask for; each column of an input becomes one argument of that type."""
Format = Literal["jsonl", "csv", "joblog", "junit", "times", "summary"]
"""How ``batch.export`` can write."""
CiSystem = Literal["auto", "github", "gitlab", "azure", "plain"]
"""Whose log ``--ci`` writes."""
Shown = Literal["all", "failures", "none"]
"""Of which jobs the output is shown."""
ResultKind = Literal["json", "repr", "none", "pickle-file"]
"""What ``--result`` can ask for."""
Algorithm = Literal["sha256", "sha512", "blake2b"]
"""Of checksums; those of the programs sha256sum, sha512sum and b2sum."""
