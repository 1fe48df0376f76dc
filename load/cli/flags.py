"""Parses the flags of all commands. Defines shared flags, and the types of flag values. Runs on the main thread."""

import argparse
import re
from collections.abc import Callable, Sequence
from math import isfinite, nextafter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from load.cli.errors import ExitStatus, reason_of_os_error, without_keys

STDOUT = Path("-")
HIGHEST = 2**63 - 1  # The largest integer that SQLite stores, and therefore the highest id.
DAY_S = 86_400.0
LOWEST_RATE = 0.001
SMALLEST = nextafter(0, 1)  # The smallest number above 0.
SQLITE_HEAD = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#magic_header_string
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


def whole_number(highest: int = HIGHEST) -> Callable[[str], int]:
    """Return an argparse type for integers from 1 to `highest`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not 1 <= number <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not between 1 and {highest}")
        return number

    return parse


def rate(highest: int) -> Callable[[str], float]:
    """Return an argparse type for a number of orders per second, from 0.001 to `highest`. Whole numbers become ints."""

    read = number("orders a second", f"between {LOWEST_RATE} and {highest}", LOWEST_RATE, highest)

    def parse(text: str) -> float:
        found = read(text)
        return int(found) if found.is_integer() else found

    return parse


def number(unit: str, bounds: str, lowest: float, highest: float) -> Callable[[str], float]:
    """Return an argparse type for numbers from `lowest` to `highest`. Error messages contain `unit` and `bounds`."""

    def parse(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not isfinite(found):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit}")
        if not lowest <= found <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not {bounds}")
        return found

    return parse


seconds = number("seconds", f"more than 0 and at most {DAY_S:.0f} seconds", SMALLEST, DAY_S)
seconds_or_0 = number("seconds", f"between 0 and {DAY_S:.0f} seconds", 0, DAY_S)


def writable_file(text: str) -> Path:
    """Read the path of a file. The file's folder must exist, and the path must not be a folder."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def writable_folder(text: str) -> Path:
    """Read the path of a folder. Creates and removes a temporary folder in it to test whether it is writable."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    try:
        with TemporaryDirectory(dir=path):
            return path
    except OSError as problem:
        raise argparse.ArgumentTypeError(f"{text} can't be written to: {reason_of_os_error(problem)}") from None


def sqlite_file(text: str) -> Path:
    """Read the path of an SQLite database. The file must be readable, and begin as SQLite's files do."""
    try:
        with Path(text).open("rb") as file:
            head = file.read(len(SQLITE_HEAD))
    except OSError as problem:
        raise argparse.ArgumentTypeError(f"{text} can't be read: {reason_of_os_error(problem)}") from None
    if head != SQLITE_HEAD:
        raise argparse.ArgumentTypeError(f"{text} is not an SQLite database")
    return Path(text)


def named_file(text: str) -> Path:
    """Read the path of a file as `writable_file` does. Rejects standard output and SQLite's `:memory:`."""
    if text in (str(STDOUT), ":memory:"):
        raise argparse.ArgumentTypeError(f"must be the path of a file, not {text}")
    return writable_file(text)
