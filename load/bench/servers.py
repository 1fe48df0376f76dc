"""Starts the servers of a trial, each with its own database. Runs on the main thread."""

import os
import shutil
import time
from itertools import count
from pathlib import Path

from rich.console import Console

from load.bench.reference_servers import BARE_TORNADO, FIXED_RESPONSE
from load.bench.workloads import STORED_ORDERS
from load.cli.progress import ProgressBar
from load.fill.fill_job import FillJob
from load.system.server_process import ServerProcess

START_S = 60.0  # For a file of any size, whose pages may all have to be read from the disk.


class TrialServers:
    """Prepares the servers of one trial, whose databases and logs are in one folder.

    Our server begins with the orders of the file `stored`, if there is one; `checkout` is the folder of another
    version of it.
    """

    def __init__(self, folder: Path, *, stored: Path | None, checkout: Path | None) -> None:
        self._folder = folder
        self._checkout = checkout
        self._logs = (folder / f"{number}.log" for number in count(1))
        if stored:
            with Path(shutil.copyfile(stored, folder / "orders.db")).open("rb") as copy:
                # So that no part of it is written during a trial.
                os.fsync(copy.fileno())

    def ours(self, *flags: str) -> ServerProcess:
        """Return our server with further flags, on the trial's database, not started yet."""
        return self._process("server.py", "--port", "0", "--database", str(self._folder / "orders.db"), *flags)

    def named(self, name: str) -> ServerProcess:
        """Return a server by its name, not started yet.

        `ours` is our server, also called `big` beside `small`, another process of it with few orders. `twin` is another
        process with none, `other` is that of the checkout; `bare` and `fixed` are reference servers. Raises what
        FillJob raises.
        """
        if name in ("ours", "big"):
            return self.ours()
        if name in (BARE_TORNADO, FIXED_RESPONSE):
            return self._process("-m", "load.bench.reference_servers", name, "0")
        database = self._folder / name / "orders.db"
        database.parent.mkdir()
        if name == "small":
            FillJob(database=database, orders=STORED_ORDERS, progress=ProgressBar(Console(stderr=True))).run()
        program = (self._checkout or Path()) / "server.py"
        return self._process(str(program), "--port", "0", "--database", str(database))

    def _process(self, *arguments: str) -> ServerProcess:
        return ServerProcess(arguments, log=next(self._logs), clock_s=time.monotonic, start_s=START_S)
