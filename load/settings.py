"""Owns the flags of `python -m load`: their names, defaults and limits; read on the main thread, before the loop."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from load.address import BadUrl, ServerUrl
from load.orders import MAX_ID

HEADLINE_ORDERS = 1000
REPLAY_CONCURRENCY = 64

DESCRIPTION = """\
Sends orders to a running server, waits until they are processed, reads every acknowledged one back and says whether
anything was lost or differs. Without flags: 1,000 clients that connect at once and send one order each."""

EPILOG = """\
exit status: 0 when every order that got a 202 was read back, is as it was sent, and is Completed, Failed or Cancelled;
1 when one was lost, differs, can't be read or isn't processed, when none got a 202, when the server can't be reached,
or when the --json file can't be written; 2 for bad flags or a bad file to replay; 130 after Ctrl-C. Orders that were
refused or got no answer are counted in the table and don't change the exit status: the server promised nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run is to do; `concurrency` is the number of connections, in batches as without.

    A file to replay may have fewer than `orders`; the highest number means all of them.
    """

    url: ServerUrl
    orders: int
    concurrency: int
    batch: int | None
    replay: Path | None
    first_id: int | None
    json: Path | None


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


def writable_file(text: str) -> Path:
    """Give the path of a file that can be made: its folder is there and it is no folder itself."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def server_url(text: str) -> ServerUrl:
    try:
        return ServerUrl.parse(text)
    except BadUrl as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m load",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--orders", type=whole_number(), metavar="N", help="orders to send (1000; of a file to replay: all)")
    add(
        "--concurrency",
        type=whole_number(),
        metavar="N",
        help="connections that each send the next order when theirs is answered (as many as orders, up to 1000; "
        "for --replay 64)",
    )
    add(
        "--batch",
        type=whole_number(),
        metavar="N",
        help="send N orders at once, wait for all N answers, then the next N",
    )
    add("--replay", type=Path, metavar="FILE", help="send the orders of this file: NDJSON, one order a line")
    add("--url", type=server_url, default="http://127.0.0.1:8080", help="the server (%(default)s)")
    add(
        "--first-id",
        type=whole_number(),
        metavar="ID",
        help="number the orders from here (from the clock, so that ids don't repeat; for --replay those of the file)",
    )
    add("--json", type=writable_file, metavar="FILE", help="write the result to this file as well")
    return parser


def parse_settings(argv: Sequence[str]) -> Settings:
    """Read the flags; a bad one ends the process with one line on stderr and status 2."""
    parser = _parser()
    flags = parser.parse_args(argv)
    if flags.batch and flags.concurrency:
        parser.error("--batch and --concurrency exclude each other: a batch opens as many connections as it has orders")
    orders = flags.orders or (MAX_ID if flags.replay else HEADLINE_ORDERS)
    takes_all = flags.replay and not flags.orders
    if flags.first_id and not takes_all and flags.first_id + orders - 1 > MAX_ID:
        parser.error(f"--first-id {flags.first_id} leaves no room for {orders} ids below 2^63")
    default = REPLAY_CONCURRENCY if flags.replay else min(orders, HEADLINE_ORDERS)
    return Settings(
        url=flags.url,
        orders=orders,
        concurrency=flags.batch or flags.concurrency or default,
        batch=flags.batch,
        replay=flags.replay,
        first_id=flags.first_id,
        json=flags.json,
    )
