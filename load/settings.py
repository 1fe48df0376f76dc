"""Defines the settings of a run, and reads them from the flags of `python -m load`. Runs on the main thread."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from load.cli.flags import HIGHEST, CommandParser, named_file, rate, seconds, seconds_or_0, whole_number, writable_file
from load.http.address import EXAMPLE, ServerUrl

KEY_VARIABLE = "ORDERS_KEY"  # The environment variable with the API key.
MOST_PER_REQUEST = 1000
MOST_PER_SECOND = 1_000_000
ORDERS = 1000
REPLAY_CONCURRENCY = 64
BULK_CONCURRENCY = 4
BULK_REQUESTS = 100
OPEN_LOOP_CONNECTIONS = 1000
DURATION_S = 10.0
EXCLUSIVE = (
    ("--own-server", "--url", "a server of its own has its own address"),
    ("--own-server", "--api-key", "a server of its own needs no key"),
    ("--batch", "--concurrency", "a batch opens as many connections as it has orders"),
    ("--batch", "--bulk", "each request of a batch has one order"),
    ("--batch", "--rate", "a batch waits for answers, an open loop does not"),
    ("--duration", "--orders", "either one ends a run"),
    ("--duration", "--replay", "either one ends a run"),
)
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
DESCRIPTION = """\
Sends orders to a server, waits until they are processed, reads every acknowledged order back and says whether anything
was lost or differs. Without flags: 1,000 clients that connect at once and send one order each."""
EPILOG = """\
exit status: 0 when every order that got a 202 was read back, is as it was sent, and is Completed, Failed or Cancelled;
1 when an order was lost, differs, can't be read or isn't processed; 1 also when no order got a 202, when the server
can't be reached, isn't trusted or requires another API key, or when a file can't be written; 2 for bad flags or a bad
file to replay; 130 after Ctrl-C, which prints what was measured so far (a second Ctrl-C ends the command at once).
Orders that were refused or got no response are counted in the table. They do not change the exit status, because the
server did not acknowledge them. If the load generator was the limit, or the server did not keep up with --rate, a line
says so, and the exit status stays the same."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run. `concurrency` is the number of connections; an open loop can use fewer.

    `orders` is how many orders are sent. With `replay`, it is an upper limit; HIGHEST means the whole file. `rate` is
    in orders per second, and makes the loop open. `duration_s` is None if the number of orders ends the run. `batch`
    orders are sent at once. Each request has `bulk` orders. With `own_server`, the command starts the server.
    """

    url: ServerUrl
    orders: int
    concurrency: int
    own_server: bool = False
    batch: int | None = None
    bulk: int | None = None
    rate: float | None = None
    duration_s: float | None = None
    warm_up_s: float = 0.0
    replay: Path | None = None
    first_id: int | None = None
    api_key: str = field(default="", repr=False)
    json: Path | None = None
    report: Path | None = None

    def connections_for(self, orders: int) -> int:
        return min(self.concurrency, -(-orders // (self.bulk or 1)))

    @property
    def mode(self) -> str:
        return "batches" if self.batch else "open loop" if self.rate else "closed loop"


def parse_settings(argv: Sequence[str], environment: Mapping[str, str] = NO_VARIABLES) -> Settings:
    """Read the flags. An invalid flag ends the process with one line on stderr and status 2."""
    parser = _new_parser()
    flags = parser.parse(argv)
    if mistake := _find_contradiction(flags):
        parser.error(mistake)
    if flags.api_key is None and not flags.own_server and environment.get(KEY_VARIABLE):
        try:
            flags.api_key = _api_key(environment[KEY_VARIABLE])
        except argparse.ArgumentTypeError as problem:
            parser.error(f"{KEY_VARIABLE}: {problem}")
    flags.url = flags.url or ServerUrl.parse(EXAMPLE)
    flags.api_key = flags.api_key or ""
    if flags.rate and not (flags.orders or flags.replay or flags.duration_s):
        flags.duration_s = DURATION_S
    orders = _orders(flags)
    takes_all = flags.replay and not flags.orders
    if flags.first_id and not takes_all and flags.first_id + orders - 1 > HIGHEST:
        parser.error(f"--first-id {flags.first_id} leaves no room for {orders} ids below 2^63")
    flags.concurrency = flags.batch or flags.concurrency or _default_concurrency(flags, orders)
    flags.orders = orders
    return Settings(**vars(flags))


def _find_contradiction(flags: argparse.Namespace) -> str:
    if flags.json and flags.json == flags.report:
        return "--json and --report name the same file"
    if flags.duration_s and not flags.rate:
        return "--duration needs --rate: without it the number of orders ends a run"
    given = {f"--{name.removesuffix('_s').replace('_', '-')}" for name, value in vars(flags).items() if value}
    for one, other, reason in EXCLUSIVE:
        if {one, other} <= given:
            return f"{one} and {other} exclude each other: {reason}"
    return ""


def _orders(flags: argparse.Namespace) -> int:
    if flags.orders:
        return int(flags.orders)
    if flags.replay:
        return HIGHEST
    if flags.duration_s:
        # The number of orders that are due before the end of the run. Rounded first: a floating-point error must not
        # add an order.
        due: float = flags.rate * (flags.warm_up_s + flags.duration_s)
        return max(1, math.ceil(round(due, 6)))
    return BULK_REQUESTS * int(flags.bulk) if flags.bulk else ORDERS


def _default_concurrency(flags: argparse.Namespace, orders: int) -> int:
    if flags.rate:
        return OPEN_LOOP_CONNECTIONS
    if flags.bulk:
        return BULK_CONCURRENCY
    return REPLAY_CONCURRENCY if flags.replay else min(orders, ORDERS)


def _new_parser() -> CommandParser:
    parser = CommandParser("load", description=DESCRIPTION, epilog=EPILOG, keeps_lines=True)
    group = parser.add_argument_group("what is sent")

    def add(flag: str, metavar: str, kind: Callable[[str], object], help_text: str) -> None:
        name = flag.strip("-").replace("-", "_")
        dest = f"{name}_s" if metavar == "S" else name
        group.add_argument(flag, metavar=metavar, type=kind, help=help_text, dest=dest)

    add("--orders", "N", whole_number(), "how many orders to send (1000; with --bulk 100 requests; with --replay all)")
    add("--replay", "FILE", Path, "send the orders of this file: CSV if its name ends in .csv, otherwise NDJSON")
    ids = "the id of the first order (from the clock and random bits; with --replay the ids of the file)"
    add("--first-id", "ID", whole_number(), ids)
    bulk = "send N orders in each request, as an array for POST /orders; latencies are per request"
    add("--bulk", "N", whole_number(MOST_PER_REQUEST), bulk)
    group = parser.add_argument_group("how it is sent")
    concurrency = (
        "connections: each sends its next request after the response to its previous one (as many as requests, up to "
        "1000; with --replay 64, with --bulk 4); with --rate, at most this number is opened (1000)"
    )
    add("--concurrency", "N", whole_number(), concurrency)
    add("--batch", "N", whole_number(), "send N orders at once, wait for all N answers, then the next N")
    per_second = (
        "send R orders a second (0.5 for instance), each when it is due, however long earlier answers take (an open "
        "loop); latencies count from when a request was due"
    )
    add("--rate", "R", rate(MOST_PER_SECOND), per_second)
    add("--duration", "S", seconds, "how long to send at that rate (10 seconds, unless --orders or --replay is given)")
    warm_up = "do not measure requests that are due in the first S seconds; --duration begins after them (0)"
    add("--warm-up", "S", seconds_or_0, warm_up)
    group = parser.add_argument_group("where it is sent, and where the result is written")
    own_server = "start a server with a temporary database, load it, and remove both at the end"
    group.add_argument("--own-server", action="store_true", help=own_server)
    trusted = "trusts the system's certificates, or those in the file that SSL_CERT_FILE names"
    add("--url", "URL", ServerUrl.parse, f"the server ({EXAMPLE}); https:// {trusted}")
    add("--api-key", "KEY", _api_key, f"the key to send with every request (the environment variable {KEY_VARIABLE})")
    to_json = "also write the result to this file; - is standard output, and the table then goes to standard error"
    add("--json", "FILE", writable_file, to_json)
    add("--report", "FILE", named_file, "write a page with charts to this HTML file")
    parser.set_defaults(warm_up_s=0.0)
    return parser


def _api_key(text: str) -> str:
    """Return the key if it can be sent in a header. Error messages do not contain the key."""
    if not text:
        raise argparse.ArgumentTypeError("the key is empty")
    if not all("!" <= character <= "~" for character in text):
        raise argparse.ArgumentTypeError("the key has a character that is not allowed in a header")
    return text
