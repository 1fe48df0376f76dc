"""Parses the flags of all commands. Defines shared flags, and the types of flag values. Runs on the main thread."""

import argparse
import re
from collections.abc import Callable, Sequence
from math import isfinite, nextafter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from load.cli.errors import ExitStatus, reason_of_os_error, without_keys

STDOUT = Path("-")
HIGHEST = 2**63 - 1  # The largest integer that SQLite stores, and therefore the highest id.
POSTGRESQL = "postgresql://"
DAY_S = 86_400.0
LOWEST_RATE = 0.001
SMALLEST = nextafter(0, 1)  # The smallest number above 0.
FLAG = re.compile(r"--[a-z][a-z-]{0,30}")


class CommandParser(argparse.ArgumentParser):
    """The parser of `python -m NAME`; it reports a mistake in one line and exits with status 2."""

    def __init__(self, module: str, *, description: str, epilog: str | None = None, keeps_lines: bool = False) -> None:
        super().__init__(
            prog=f"python -m {module}",
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter if keeps_lines else argparse.HelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(ExitStatus.BAD_USAGE, f"{self.prog}: {without_keys(message)} (--help lists the flags)\n")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Read the flags. Error messages name unknown flags, but do not contain their values: these can be API keys."""
        flags, unknown = self.parse_known_args(argv)
        if unknown:
            names = [argument.partition("=")[0] for argument in unknown]
            shown = [name for name in names if FLAG.fullmatch(name)]
            self.error(f"unknown flags: {' '.join(shown)}" if shown else "unexpected arguments")
        return flags

    def add_json(self) -> None:
        self.add_argument("--json", type=named_file, metavar="FILE", help="also write the result to this file")

    def add_folder(self) -> None:
        """Add the flag --folder, the folder in which databases are created."""
        where = "where to create the databases: on a disk, not on tmpfs (the current folder)"
        self.add_argument("--folder", type=writable_folder, default=Path(), help=where)

    def add_seed(self, default: int, *, shown: str | None = None) -> None:
        """Add the flag --seed for the random numbers. --help shows the text `shown` instead of the default."""
        text = f"seed of the random numbers ({shown or default})"
        self.add_argument("--seed", type=whole_number(), default=default, help=text)


def number(
    name: str, bounds: str, lowest: float, highest: float, *, read: type[int] | type[float] = float
) -> Callable[[str], Any]:
    """Return an argparse type for numbers from `lowest` to `highest`. Error messages contain `name` and `bounds`."""

    def parse(text: str) -> int | float:
        try:
            found = read(text)
        except ValueError:
            found = float("nan")
        if isinstance(found, float) and not isfinite(found):
            raise argparse.ArgumentTypeError(f"{text!r} is not a {name}")
        if not lowest <= found <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not {bounds}")
        return found

    return parse


def whole_number(highest: int = HIGHEST) -> Callable[[str], int]:
    """Return an argparse type for integers from 1 to `highest`."""
    return number("whole number", f"between 1 and {highest}", 1, highest, read=int)


def rate(highest: int) -> Callable[[str], float]:
    """Return an argparse type for a number of orders per second, from 0.001 to `highest`. Whole numbers become ints."""
    read = number("number of orders a second", f"between {LOWEST_RATE} and {highest}", LOWEST_RATE, highest)
    return lambda text: int(found) if (found := read(text)).is_integer() else found


seconds = number("number of seconds", f"more than 0 and at most {DAY_S:.0f} seconds", SMALLEST, DAY_S)
seconds_or_0 = number("number of seconds", f"between 0 and {DAY_S:.0f} seconds", 0, DAY_S)


def writable_file(text: str) -> Path:
    """Read the path of a file, and test whether it is writable. The test leaves no new file."""
    path = Path(text)
    existed = path.exists()
    # A pipe is not opened, because closing it again would signal end of file to its reader.
    if path != STDOUT and (path.is_file() or path.is_dir() or not existed):
        try:
            path.open("ab").close()
        except OSError as problem:
            raise argparse.ArgumentTypeError(f"{text} can't be written: {reason_of_os_error(problem)}") from None
        if not existed:
            path.unlink()
    return path


def writable_folder(text: str) -> Path:
    """Read the path of a folder. Creates and removes a temporary folder in it to test whether it is writable."""
    try:
        with TemporaryDirectory(dir=text):
            return Path(text)
    except OSError as problem:
        raise argparse.ArgumentTypeError(f"{text} is not a writable folder: {reason_of_os_error(problem)}") from None


def postgresql_url(text: str) -> str:
    """Read the URL of a PostgreSQL database. Rejects a password, because all users can see the flags of a process."""
    if not text.startswith(POSTGRESQL):
        raise argparse.ArgumentTypeError(f"must be {POSTGRESQL}USER@HOST/NAME")
    if ":" in text.partition("://")[2].rpartition("@")[0] or "password" in text:
        raise argparse.ArgumentTypeError("must not have a password: set PGPASSWORD, or use a password file")
    return text


def named_file(text: str) -> Path:
    """Read the path of a file as `writable_file` does. Rejects standard output and SQLite's `:memory:`."""
    if text in (str(STDOUT), ":memory:"):
        raise argparse.ArgumentTypeError(f"must be the path of a file, not {text}")
    return writable_file(text)
