"""Owns how the values of flags are read, and how a bad one is reported; on the main thread."""

import argparse
import re
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from load.http.address import BadUrl, ServerUrl
from load.orders.sources import MAX_ID

STDOUT = Path("-")
DAY_S = 86_400.0
LOWEST_RATE = 0.001
# How the server's keys begin; a person may put one in the wrong place.
KEY = re.compile(r"orderskey_[^\s'\"]*")
SQLITE_HEAD = b"SQLite format 3\0"
"""https://www.sqlite.org/fileformat.html#magic_header_string"""
FLAG = re.compile(r"--[a-z][a-z-]{0,30}")


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {without_keys(message)} (--help lists the flags)\n")

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Read the flags; of what is unknown only the flags are named, since a key may follow one that is mistyped."""
        flags, unknown = self.parse_known_args(argv)
        if unknown:
            named = [each.partition("=")[0] for each in unknown]
            shown = [name for name in named if FLAG.fullmatch(name)]
            self.error(f"unknown: {' '.join(shown) or 'arguments that belong to no flag'}")
        return flags


def without_keys(text: str) -> str:
    """Give the text with every key in it cut short."""
    return KEY.sub("orderskey_...", text)


def whole_number(highest: int = MAX_ID) -> Callable[[str], int]:
    """Give an argparse type for integers from 1 to `highest`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not 1 <= number <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not between 1 and {highest}")
        return number

    return parse


def rate(highest: int) -> Callable[[str], float]:
    """Give an argparse type for orders a second, from 0.001 to `highest`; a whole number stays one."""

    def parse(text: str) -> float:
        number = _finite(text, "number of orders a second")
        if not LOWEST_RATE <= number <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not between {LOWEST_RATE} and {highest}")
        return int(number) if number.is_integer() else number

    return parse


def seconds(text: str) -> float:
    """Give a time of more than nothing, in seconds; a day at most."""
    number = _finite(text, "number of seconds")
    if not 0 < number <= DAY_S:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most {DAY_S:.0f} seconds")
    return number


def seconds_or_none(text: str) -> float:
    """Give a time in seconds, which may be nothing; a day at most."""
    number = _finite(text, "number of seconds")
    if not 0 <= number <= DAY_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {DAY_S:.0f} seconds")
    return number


def _finite(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
    return number


def writable_file(text: str) -> Path:
    """Give the path of a file that can be made: its folder is there and it is no folder itself."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def writable_folder(text: str) -> Path:
    """Give the path of a folder in which another one can be made, which is tried."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    try:
        with TemporaryDirectory(dir=path):
            return path
    except OSError as problem:
        reason = (problem.strerror or "unknown error").lower()
        raise argparse.ArgumentTypeError(f"{text} can't be written to: {reason}") from None


def sqlite_file(text: str) -> Path:
    """Give the path of a file that can be read and begins as an SQLite database does."""
    try:
        with Path(text).open("rb") as file:
            head = file.read(len(SQLITE_HEAD))
    except OSError as problem:
        reason = (problem.strerror or "unknown error").lower()
        raise argparse.ArgumentTypeError(f"{text} can't be read: {reason}") from None
    if head != SQLITE_HEAD:
        raise argparse.ArgumentTypeError(f"{text} is no SQLite database")
    return Path(text)


def named_file(text: str) -> Path:
    """Give the path of a file that can be made, which neither standard output nor SQLite's memory is."""
    if text in (str(STDOUT), ":memory:"):
        raise argparse.ArgumentTypeError(f"a file is wanted, which {text} is not")
    return writable_file(text)


def server_url(text: str) -> ServerUrl:
    try:
        return ServerUrl.parse(text)
    except BadUrl as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def api_key(text: str) -> str:
    """Give a key that can stand in a header; what is wrong with it is said without it."""
    if not text:
        raise argparse.ArgumentTypeError("the key is empty")
    if not all("!" <= character <= "~" for character in text):
        raise argparse.ArgumentTypeError("the key has a character that can't stand in a header")
    return text
