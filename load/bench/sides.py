"""Owns the servers of a trial: what is run for each of them, and on which database; on the main thread."""

import os
import shutil
import time
from pathlib import Path

from rich.console import Console

from load.bench.plans import Against, Comparison
from load.bench.trials import STORED_ORDERS
from load.cli.progress import ProgressBar
from load.fill.fill_job import FillJob
from load.system.server_process import ServerProcess

BARE = ["-m", "load.bench.bare", "--port", "0"]
START_S = 60.0
"""For a server on a file of any size, whose pages may all have to come from the disk."""


class Ground:
    """A folder of a trial's own, with what its servers write.

    Ours begins with the orders of the file `stored`, where there is one; `checkout` is the folder of another server.
    """

    def __init__(self, folder: Path, *, stored: Path | None, checkout: Path | None) -> None:
        self._folder = folder
        self._checkout = checkout
        self._count = 0
        (folder / "other").mkdir()
        if stored:
            copy_whole(stored, folder / "orders.db")

    def fill_other(self) -> None:
        """Have the other side begin with few orders; what FillJob raises."""
        progress = ProgressBar(Console(stderr=True))
        FillJob(database=self._folder / "other" / "orders.db", orders=STORED_ORDERS, progress=progress).run()

    def serve(self, *flags: str) -> ServerProcess:
        """Give our server on the trial's database, not started yet."""
        return self._process(_server("", self._folder, *flags))

    def servers(self, plan: Comparison) -> list[ServerProcess]:
        """Give the servers to compare, not started yet: the other side, where there is one, and ours."""
        ours = self._process(list(plan.instead)) if plan.instead else self.serve()
        if plan.against is Against.ITSELF:
            return [ours]
        checkout = self._checkout or "" if plan.against is Against.CHECKOUT else ""
        other = BARE if plan.against is Against.BARE else _server(checkout, self._folder / "other")
        return [self._process(other), ours]

    def _process(self, command: list[str]) -> ServerProcess:
        self._count += 1
        log = self._folder / f"{self._count}.log"
        return ServerProcess(command, log=log, clock_s=time.monotonic, start_s=START_S)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file and return when it is on disk, so that nothing of it is left to be written during a trial."""
    with source.open("rb") as from_file, target.open("xb") as to_file:
        shutil.copyfileobj(from_file, to_file, 1 << 20)
        to_file.flush()
        os.fsync(to_file.fileno())


def _server(checkout: str | Path, folder: Path, *flags: str) -> list[str]:
    """The server of a checkout, with its database in `folder`."""
    return [str(Path(checkout) / "server.py"), "--port", "0", "--database", str(folder / "orders.db"), *flags]
