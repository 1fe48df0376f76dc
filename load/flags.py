"""Owns the flags of `python -m load`, as a parser: their names, limits and what --help says of them."""

import argparse
from pathlib import Path

from load.cli.flags import (
    CommandParser,
    named_file,
    rate,
    seconds,
    seconds_or_zero,
    whole_number,
    writable_file,
)
from load.http.address import BadUrl, ServerUrl

MOST_A_REQUEST = 1000
MOST_A_SECOND = 1_000_000
KEY_VARIABLE = "ORDERS_KEY"

DESCRIPTION = """\
Sends orders to a running server, waits until they are processed, reads every acknowledged one back and says whether
anything was lost or differs. Without flags: 1,000 clients that connect at once and send one order each."""

EPILOG = """\
exit status: 0 when every order that got a 202 was read back, is as it was sent, and is Completed, Failed or Cancelled;
1 when one was lost, differs, can't be read or isn't processed, when none got a 202, when the server can't be reached,
isn't trusted or wants another API key, or when a file can't be written; 2 for bad flags or a bad file to replay; 130
after Ctrl-C, which prints what there is so far (a second one ends at once). Orders that were refused or got no answer
are counted in the table and don't change the exit status: the server promised nothing. Nor does it change when the load
generator was the limit, or the server did not keep up with --rate: a line below the table says so."""


def new_parser() -> CommandParser:
    """Give a parser that reports a mistake in one line and exits with status 2."""
    parser = CommandParser("load", description=DESCRIPTION, epilog=EPILOG, keeps_lines=True)
    _add_what_is_sent(parser.add_argument_group("what is sent"))
    _add_how(parser.add_argument_group("how"))
    _add_where(parser.add_argument_group("where to, and what becomes of the result"))
    return parser


def _add_what_is_sent(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--orders",
        type=whole_number(),
        metavar="N",
        help="orders to send (1000; with --bulk 100 requests; of a file to replay: all)",
    )
    group.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="send the orders of this file: CSV where its name ends in .csv, else NDJSON, one order a line",
    )
    group.add_argument(
        "--first-id",
        type=whole_number(),
        metavar="ID",
        help="number the orders from here (from the clock and chance, so that ids don't repeat; for --replay those of "
        "the file)",
    )
    group.add_argument(
        "--bulk",
        type=whole_number(MOST_A_REQUEST),
        metavar="N",
        help="N orders a request, as an array for POST /orders; latencies are those of requests",
    )


def _add_how(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--concurrency",
        type=whole_number(),
        metavar="N",
        help="connections that each send the next request when their last is answered (as many as requests, up to "
        "1000; with --replay 64, with --bulk 4); with --rate the most that are opened (1000)",
    )
    group.add_argument(
        "--batch",
        type=whole_number(),
        metavar="N",
        help="send N orders at once, wait for all N answers, then the next N",
    )
    group.add_argument(
        "--rate",
        type=rate(MOST_A_SECOND),
        metavar="R",
        help="R orders a second, 0.5 for instance, each sent when it is due whatever the answers before it take (an "
        "open loop); latencies count from when a request was due",
    )
    group.add_argument(
        "--duration",
        type=seconds,
        metavar="S",
        help="how long to send at that rate, in seconds (10, unless --orders or --replay says how many)",
    )
    group.add_argument(
        "--warm-up",
        type=seconds_or_zero,
        default=0.0,
        metavar="S",
        help="what falls into the first S seconds counts neither for latencies nor for orders/s; comes on top of "
        "--duration",
    )


def _add_where(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--url",
        type=server_url,
        default="http://127.0.0.1:8080",
        help="the server (%(default)s); for https:// the system's certificates are trusted, or those in the file that "
        "the environment variable SSL_CERT_FILE names",
    )
    group.add_argument(
        "--api-key",
        type=api_key,
        metavar="KEY",
        help=f"the key to send with every request (the environment variable {KEY_VARIABLE})",
    )
    group.add_argument(
        "--json",
        type=writable_file,
        metavar="FILE",
        help="write the result to this file as well; - is standard output, and the table then goes to standard error",
    )
    group.add_argument("--report", type=named_file, metavar="FILE", help="write a page with charts to this HTML file")


def server_url(text: str) -> ServerUrl:
    try:
        return ServerUrl.parse(text)
    except BadUrl as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def api_key(text: str) -> str:
    """Read a key that can stand in a header; what is wrong with it is said without it."""
    if not text:
        raise argparse.ArgumentTypeError("the key is empty")
    if not all("!" <= character <= "~" for character in text):
        raise argparse.ArgumentTypeError("the key has a character that can't stand in a header")
    return text
