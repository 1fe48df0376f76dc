"""A disk with one folder that remembers what must be on it and what need not be, and says what an outage may leave.

What is in a file is safe when the file was synced (`tests/power/file.py`), which names the folder has when the folder
was: a new name that was not may be missing, and one that was taken away may be back, each for itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tests.power.file import File

Files = dict[str, bytes]
"""What is left, by name."""


@dataclass(eq=False)
class Entry:
    """A name that was given to a file, or taken away where `file` is None."""

    name: str
    file: File | None
    has_returned: bool = False


class Disk:
    """One folder, empty at first."""

    def __init__(self) -> None:
        self._safe: dict[str, File] = {}
        self._unsafe: list[Entry] = []

    def __getitem__(self, name: str) -> File:
        return self._present()[name]

    def __contains__(self, name: str) -> bool:
        return name in self._present()

    def _present(self) -> dict[str, File]:
        names: dict[str, File | None] = dict(self._safe)
        names.update((entry.name, entry.file) for entry in self._unsafe)
        return {name: file for name, file in names.items() if file is not None}

    def add(self, entry: Entry) -> None:
        """It begins, and may be on disk from now on."""
        self._unsafe.append(entry)

    def begin_sync(self) -> Callable[[], None]:
        """A sync of the folder, not of its files, begins; the result is to be called once it has returned."""
        covered = [entry for entry in self._unsafe if entry.has_returned]

        def end() -> None:
            for entry in covered:
                if entry in self._unsafe:
                    self._unsafe.remove(entry)
                    self._name(entry)

        return end

    def _name(self, entry: Entry) -> None:
        if entry.file is None:
            self._safe.pop(entry.name, None)
        else:
            self._safe[entry.name] = entry.file

    def safe(self) -> Files:
        """What must be there."""
        return {name: file.safe for name, file in self._safe.items()}

    def written(self) -> Files:
        """What whoever reads the files sees."""
        return {name: file.written for name, file in self._present().items()}

    def left_over(self, chance: Random) -> Files:
        """What an outage may leave."""
        choices: dict[str, list[File | None]] = {name: [file] for name, file in self._safe.items()}
        for entry in self._unsafe:
            choices.setdefault(entry.name, [None]).append(entry.file)
        left = {name: chance.choice(files) for name, files in choices.items()}
        return {name: file.left_over(chance) for name, file in left.items() if file is not None}


def differences(files: Mapping[str, bytes], others: Mapping[str, bytes]) -> list[str]:
    """The names of files that are not the same on both sides."""
    return sorted(name for name in files.keys() | others.keys() if files.get(name) != others.get(name))
