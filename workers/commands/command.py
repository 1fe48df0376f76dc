"""The flags of the commands, and the commands themselves. Runs on the main thread."""

import argparse
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from models.database.address import DatabaseAddress, PostgresqlUrl, parse_url
from models.sqlite.backup.backup import back_up
from models.sqlite.backup.restore import restore
from models.sqlite.check.check import check
from models.sqlite.check.repair import repair
from models.store import move_orders
from workers.commands.progress_bar import ProgressBar

FLAGS = ("move_to", "backup", "restore", "check")
"""The names of the flags of which each makes the program run a command instead of a server."""
OF_POSTGRESQL = (
    "needs a SQLite file as --database: back up and check a PostgreSQL database with PostgreSQL's own tools, such as"
    " pg_dump, pgBackRest and pg_amcheck"
)

NICENESS = 10
"""A server on the same machine gets nine tenths of a CPU that a command and the server want to use."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command for the SQLite file `database`. Exactly one of the fields in FLAGS is set."""

    database: Path
    move_to: PostgresqlUrl | None = None
    backup: Path | None = None
    restore: Path | None = None
    check: bool = False
    repair: bool = False

    @property
    def advice(self) -> str:
        """What to do after an interruption."""
        return "run the same command again" + (" to go on" if self.move_to else "")

    def run(self) -> int:
        """Runs the command. Returns the exit status, 0 or 1. Raises StartRefusedError if the command failed."""
        if self.move_to:
            move_orders(self.database, self.move_to, report=partial(print, flush=True))
            return 0
        os.nice(NICENESS)
        progress = ProgressBar()

        def report(line: str, /) -> None:
            progress.hide()
            print(line, flush=True)  # noqa: T201 - the output of the command

        try:
            if self.backup:
                back_up(self.database, self.backup, report=report, progress=progress)
            elif self.restore:
                restore(self.database, self.restore, report=report, progress=progress)
            else:
                return 0 if (repair if self.repair else check)(self.database, report=report, progress=progress) else 1
        finally:
            progress.hide()
        return 0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the commands."""
    add = parser.add_argument
    add("--backup", type=Path, metavar="FILE", help="write a backup of the SQLite file, also while a server runs")
    add(
        "--restore",
        type=Path,
        metavar="FILE",
        help="replace the SQLite file by this backup, and keep the old file under another name",
    )
    add("--check", action="store_true", help="look for errors in the SQLite file, also while a server runs")
    add("--repair", action="store_true", help="with --check: correct the totals and rebuild the indexes")
    add(
        "--move-to",
        type=parse_url,
        metavar="URL",
        help="move the orders of the SQLite file to this empty PostgreSQL database",
    )


def command_from(values: Mapping[str, Any], database: DatabaseAddress) -> Command | None:
    """The command in these parsed values; None if the program must serve. Raises ValueError if they are not valid."""
    named = [f"--{name.replace('_', '-')}" for name in FLAGS if values[name]]
    if values["repair"] and not values["check"]:
        raise ValueError("--repair needs --check")
    if not named:
        return None
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)} can't be used together")
    if isinstance(database, PostgresqlUrl):
        of_move = "needs a SQLite file as --database"
        raise ValueError(f"{named[0]} {of_move if values['move_to'] else OF_POSTGRESQL}")
    return Command(database=database, repair=values["repair"], **{name: values[name] for name in FLAGS})
