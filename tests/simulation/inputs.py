"""A pipe of inputs that comes in pieces, kept by the real `InputFile` on the simulated disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from manyhands.core.job import Values
from manyhands.inputs.sources import Spec
from manyhands.inputs.spool import InputFile
from simulation.files import SimulatedDisk
from simulation.world import World


class Pipe:
    """A `manyhands.inputs.sources.Source` that gives None while nothing has come, as `Feed` does."""

    columns: tuple[str, ...] = ()
    width: int | None = 1
    total: int | None = None

    def __init__(self, text: bytes, world: World, chance: Random) -> None:
        self.text, self._world, self._chance = text, world, chance
        self._disk: SimulatedDisk | None = None
        self._file: InputFile | None = None

    def keep_in(self, folder: Path, disk: SimulatedDisk) -> None:
        """Begin to keep it."""
        self._disk, self._file = disk, InputFile(folder, disk)

    def durable(self) -> bytes:
        """What a loss of power would leave of it for certain."""
        assert self._disk and self._file
        return self._disk.durable(self._file.path) or self._disk.durable(self._file.path.with_name("inputs"))

    def kept(self) -> tuple[int, int]:
        """See `manyhands.inputs.spool.Spool.kept`."""
        return self._file.kept if self._file else (0, 0)

    def __iter__(self) -> Iterator[Values]:
        return self._values()  # type: ignore[return-value]  # None is what a Feed gives, too

    def _values(self) -> Iterator[Values | None]:
        assert self._file is not None
        file, given, come = self._file, 0, 0
        while come < len(self.text) or given < file.kept[0]:
            end = self.text.rfind(b"\n", 0, file.kept[0]) + 1
            while given < end:
                line = self.text[given : self.text.index(b"\n", given)]
                given += len(line) + 1
                yield (line,)
            if come < len(self.text):
                piece = self.text[come : come + self._chance.randint(1, 60)]
                file.append(piece)
                come += len(piece)
                if self._chance.random() < 0.7 or come == len(self.text):
                    file.sync()
                if self._chance.random() < 0.5:
                    self._world.at(self._world.now + self._chance.random(), lambda: None)
                    yield None
        file.finish()

    def spec(self) -> Spec:
        """Lines of standard input."""
        return {"kind": "lines", "path": "-", "null": False, "separator": None}
