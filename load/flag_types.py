"""Owns how the values of flags are read, and how a bad one is reported; on the main thread."""

import argparse
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import NoReturn

from load.address import BadUrl, ServerUrl
from load.orders import MAX_ID

STDOUT = Path("-")
DAY_S = 86_400.0


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the flags)\n")


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


def seconds(text: str) -> float:
    """Give a time of more than nothing, in seconds; a day at most."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    if not 0 < number <= DAY_S:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most {DAY_S:.0f} seconds")
    return number


def writable_file(text: str) -> Path:
    """Give the path of a file that can be made: its folder is there and it is no folder itself."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def page_file(text: str) -> Path:
    """Give the path of a file that can be made, which standard output is not."""
    if text == "-":
        raise argparse.ArgumentTypeError("a page is written to a file, not to standard output")
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
