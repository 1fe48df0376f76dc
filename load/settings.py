"""Owns what a run is to do, as the flags say it: their defaults and what excludes what; read on the main thread."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from load.flags import KEY_VARIABLE, api_key, new_parser
from load.http.address import ServerUrl
from load.orders.sources import MAX_ID

HEADLINE_ORDERS = 1000
REPLAY_CONCURRENCY = 64
BULK_CONCURRENCY = 4
BULK_REQUESTS = 100
OPEN_LOOP_CONNECTIONS = 1000
DURATION_S = 10.0
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run is to do; `concurrency` is the number of connections, at most that in the open loop.

    A file to replay may have fewer than `orders`; the highest number means all of them. With `rate`, orders a second,
    the loop is open; `duration_s` is None where the number of orders ends it.
    """

    url: ServerUrl
    orders: int
    concurrency: int
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

    @property
    def mode(self) -> str:
        return "batches" if self.batch else "open loop" if self.rate else "closed loop"


def parse_settings(argv: Sequence[str], environment: Mapping[str, str] = NO_VARIABLES) -> Settings:
    """Read the flags; a bad one ends the process with one line on stderr and status 2."""
    parser = new_parser()
    flags = parser.parse(argv)
    _refuse_what_excludes_itself(parser, flags)
    if flags.api_key is None and environment.get(KEY_VARIABLE):
        try:
            flags.api_key = api_key(environment[KEY_VARIABLE])
        except argparse.ArgumentTypeError as problem:
            parser.error(f"{KEY_VARIABLE}: {problem}")
    duration_s = flags.duration or (DURATION_S if flags.rate and not (flags.orders or flags.replay) else None)
    orders = _orders(flags, duration_s)
    takes_all = flags.replay and not flags.orders
    if flags.first_id and not takes_all and flags.first_id + orders - 1 > MAX_ID:
        parser.error(f"--first-id {flags.first_id} leaves no room for {orders} ids below 2^63")
    return Settings(
        url=flags.url,
        orders=orders,
        concurrency=flags.batch or flags.concurrency or _default_concurrency(flags, orders),
        batch=flags.batch,
        bulk=flags.bulk,
        rate=flags.rate,
        duration_s=duration_s,
        warm_up_s=flags.warm_up,
        replay=flags.replay,
        first_id=flags.first_id,
        api_key=flags.api_key or "",
        json=flags.json,
        report=flags.report,
    )


def _refuse_what_excludes_itself(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    if flags.batch and flags.concurrency:
        parser.error("--batch and --concurrency exclude each other: a batch opens as many connections as it has orders")
    if flags.batch and flags.bulk:
        parser.error("--batch and --bulk exclude each other: a batch is of requests with one order each")
    if flags.batch and flags.rate:
        parser.error("--batch and --rate exclude each other: a batch waits for answers, an open loop does not")
    if flags.json and flags.json == flags.report:
        parser.error("--json and --report name the same file")
    if flags.duration and not flags.rate:
        parser.error("--duration wants --rate: without it the number of orders ends a run")
    if flags.duration and (flags.orders or flags.replay):
        parser.error(
            f"--duration and {'--orders' if flags.orders else '--replay'} exclude each other: either one ends a run"
        )


def _orders(flags: argparse.Namespace, duration_s: float | None) -> int:
    if flags.orders:
        return int(flags.orders)
    if flags.replay:
        return MAX_ID
    if duration_s:
        # Those that are due before the end; a float's last digit must not make it one more.
        due: float = flags.rate * (flags.warm_up + duration_s)
        return max(1, math.ceil(round(due, 6)))
    return BULK_REQUESTS * int(flags.bulk) if flags.bulk else HEADLINE_ORDERS


def _default_concurrency(flags: argparse.Namespace, orders: int) -> int:
    if flags.rate:
        return OPEN_LOOP_CONNECTIONS
    if flags.bulk:
        return BULK_CONCURRENCY
    return REPLAY_CONCURRENCY if flags.replay else min(orders, HEADLINE_ORDERS)
