"""Models a disk with one folder: what is synced, and which other changes can remain after a power loss.

The content of a file is on disk once the file is synced (`tests/power/file.py`). The names in the folder are on disk
once the folder is synced. Before that, a power loss can remove each new name and restore each removed name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tests.power.file import File

Files = dict[str, bytes]
"""The content of each file, by name."""


@dataclass(eq=False)
class Entry:
    """A change of the folder: `name` becomes the name of `file`, or is removed if `file` is None."""

    name: str
    file: File | None
    has_returned: bool = False


class Disk:
    """Models a disk with one folder, which is empty at first."""

    def __init__(self) -> None:
        self._synced: dict[str, File] = {}
        self._unsynced: list[Entry] = []

    def __getitem__(self, name: str) -> File:
        return self._present()[name]

    def __contains__(self, name: str) -> bool:
        return name in self._present()

    def _present(self) -> dict[str, File]:
        names: dict[str, File | None] = dict(self._synced)
        names.update((entry.name, entry.file) for entry in self._unsynced)
        return {name: file for name, file in names.items() if file is not None}

    def add(self, entry: Entry) -> None:
        """Adds a change whose system call begins. From now on, the change can be on disk."""
        self._unsynced.append(entry)

    def begin_sync(self) -> Callable[[], None]:
        """Begins a sync of the folder, but not of its files. Call the returned function when the sync has returned."""
        covered = [entry for entry in self._unsynced if entry.has_returned]

        def end() -> None:
            for entry in covered:
                if entry in self._unsynced:
                    self._unsynced.remove(entry)
                    self._name(entry)

        return end

    def _name(self, entry: Entry) -> None:
        if entry.file is None:
            self._synced.pop(entry.name, None)
        else:
            self._synced[entry.name] = entry.file

    def synced(self) -> Files:
        """Returns the files that are certainly on disk: synced names with synced content."""
        return {name: file.synced for name, file in self._synced.items()}

    def written(self) -> Files:
        """Returns the files as a program reads them, with all changes."""
        return {name: file.written for name, file in self._present().items()}

    def after_power_loss(self, chance: Random) -> Files:
        """Returns the files after a power loss: one of the possible results, chosen with `chance`."""
        choices: dict[str, list[File | None]] = {name: [file] for name, file in self._synced.items()}
        for entry in self._unsynced:
            choices.setdefault(entry.name, [None]).append(entry.file)
        left = {name: chance.choice(files) for name, files in choices.items()}
        return {name: file.after_power_loss(chance) for name, file in left.items() if file is not None}


def differences(files: Mapping[str, bytes], others: Mapping[str, bytes]) -> list[str]:
    """Returns the names of files whose content differs, or that only one of the arguments has."""
    return sorted(name for name in files.keys() | others.keys() if files.get(name) != others.get(name))
