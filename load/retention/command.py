"""`python -m load.retention`: lets old orders leave a server under load, and checks that none is lost.

The command creates a file with many orders, and reads all of them. Then it starts a server with `--keep` and
`--archive` on the file. Clients send orders for two seconds, pause for three seconds, and so on, until all old orders
are archived. Afterwards, each old order must be in the archive once, as the server responded with it before, a GET must
get a 410, the same order again must be a replay, and the totals must count it. New orders must use the space of the old
ones.

The exit status is 0 if all this is true, 1 if not, 2 for bad flags, and 130 after Ctrl-C.
"""

import argparse
import asyncio
import gzip
import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import Protocol

from load.cli.command import Command, ProgressBar, print_line, run_to_end
from load.cli.errors import ExitStatus
from load.cli.flags import CommandParser, whole_number
from load.fill.command import ARRAY_SIZE, OrderFeeder, fill
from load.http.address import Address, reach
from load.http.connection import Response
from load.http.connections import Connections, RequestTiming, Timeouts
from load.orders.comparison import ACCEPTED, counts_in
from load.orders.generated import GeneratedOrders
from load.orders.sources import requests_of
from load.readback.metrics import Metrics, read_metrics
from load.readback.order_reader import GONE
from load.system.machine import new_folder
from load.system.server_process import ServerProcess

ORDERS, MOST = 1_000_000, 100_000_000
ARCHIVING = ("--keep", "1s", "--archive")
LOADED_S, PAUSE_S, PER_SECOND, CLIENTS = 2.0, 3.0, 200, 16
TIMEOUTS = Timeouts(answer_s=60.0, connection_s=5.0, processing_s=60.0, poll_s=0.1)
READ = 20_000  # How many of the archived orders are read by their ids.
LARGEST_GROWTH = 0.05  # How much larger the file may be after half as many new orders.
STOP_S = 300.0
SECONDS_TO_NS = 1_000_000_000
CURSOR = b',"cursor":'
Digest = bytes


class Retention(Command):
    """The command `python -m load.retention`."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(prog="python -m load.retention")
        self._flags = flags
        self._wrong: Counter[str] = Counter()

    def run(self) -> ExitStatus:
        with new_folder(self._flags.folder, prefix="load-retention-", is_wanted=lambda: bool(self._wrong)) as folder:
            file = folder / "orders.db"
            fill(file, self._flags.orders)
            with _server(folder, file) as server:
                said = dict(_export(server))
            archive = folder / "archive"
            with _server(folder, file, *ARCHIVING, str(archive)) as server:
                run_to_end(self._archive(server))
            self._compare(archive, said)
            size = file.stat().st_size
            with _server(folder, file) as server:
                run_to_end(self._use_again(server))
            self._compare_sizes(size, file.stat().st_size)
            if len(said) != self._flags.orders:
                self._wrong["an export that lacks orders"] += 1
        for text, times in self._wrong.items():
            print(f"wrong: {text}, {times:,} times")
        if not self._wrong:
            print("Every archived order is complete, and none of them was accepted again.")
        return ExitStatus.FAILED if self._wrong else ExitStatus.PASSED

    async def _archive(self, server: ServerProcess) -> None:
        """Send orders until all old ones are archived. Then check the responses for the old ones."""
        address, old, progress = await reach(server.url), self._flags.orders, ProgressBar()
        begun_s, ids, archived = time.monotonic(), count(old + 1), 0
        with progress.phase("Archiving", total=old, done=lambda: archived):
            # The newest of the old orders is archived when a newer one exists.
            while (archived := (await read_metrics(address)).archived_orders) < old:
                await self._send(address, ids)
                await asyncio.sleep(PAUSE_S)
        took_s, new = time.monotonic() - begun_s, next(ids) - old - 1
        print_line(f"{archived:,} orders left in {took_s:,.1f} s, while {new:,} others arrived")
        before = await read_metrics(address)
        self._check_totals(before, old + new)
        source = GeneratedOrders(first_id=1, count=old)
        step = max(1, old // READ)
        await self._work(
            address, ((1, address.get(f"/order/{order_id}")) for order_id in range(1, old + 1, step)), self._check_gone
        )
        replays = (
            (min(ARRAY_SIZE, old - first), request) for first, request in requests_of(source, address, bulk=ARRAY_SIZE)
        )
        await self._work(address, replays, self._check_replays)
        self._check_totals(await read_metrics(address), old + new)

    async def _send(self, address: Address, ids: Iterator[int]) -> None:
        """Send new orders at a fixed rate for LOADED_S seconds."""
        first_ns = time.perf_counter_ns()
        jobs = (
            (first_ns + number * SECONDS_TO_NS // PER_SECOND, 1, address.post("/order", _body(order_id)))
            for number, order_id in enumerate(islice(ids, int(LOADED_S * PER_SECOND)))
        )
        with closing(Connections(address, count=CLIENTS, timeouts=TIMEOUTS)) as clients:
            await clients.work_when_due(jobs, answered=self._check_new, unanswered=self._note_unanswered)

    async def _work(self, address: Address, jobs: Iterator[tuple[int, bytes]], check: "Check") -> None:
        with closing(Connections(address, count=CLIENTS, timeouts=TIMEOUTS)) as clients:
            await clients.work(jobs, answered=check, unanswered=self._note_unanswered)

    async def _use_again(self, server: ServerProcess) -> None:
        """Store half as many new orders as there were old ones."""
        await OrderFeeder(await reach(server.url), first_id=10 * MOST, count=self._flags.orders // 2).send()

    def _note_unanswered(self, _: int, reason: str) -> None:
        self._wrong[reason] += 1

    def _check_new(self, _: int, response: Response, timing: RequestTiming) -> None:
        if response.status != ACCEPTED:
            self._wrong[f"status {response.status} for a new order"] += 1

    def _check_gone(self, _: int, response: Response, timing: RequestTiming) -> None:
        if response.status != GONE:
            self._wrong[f"status {response.status} for a GET of an archived order"] += 1

    def _check_replays(self, orders: int, response: Response, timing: RequestTiming) -> None:
        counts = counts_in(response)
        if response.status != ACCEPTED or counts is None or counts.duplicates != orders:
            self._wrong["archived orders that are no replays"] += 1

    def _check_totals(self, metrics: Metrics, orders: int) -> None:
        if metrics.orders != orders or metrics.completed_orders + metrics.waiting != orders:
            self._wrong[f"totals of {metrics.orders:,} orders instead of {orders:,}"] += 1

    def _compare(self, archive: Path, said: dict[int, Digest]) -> None:
        """Compare the archive with the export."""
        left = dict(said)
        for path in sorted(archive.glob("orders-*.ndjson.gz")):
            with gzip.open(path) as lines:
                for line in lines:
                    order_id = json.loads(line)["order_id"]
                    if order_id > self._flags.orders:
                        continue
                    if left.pop(order_id, None) != _digest(line.rstrip(b"\n")):
                        self._wrong["an order in the archive that is not as the server said, or there twice"] += 1
        if left:
            self._wrong["an old order that is not in the archive"] += len(left)
        print_line(f"compared {len(said) - len(left):,} orders of the archive with the export")

    def _compare_sizes(self, before: int, after: int) -> None:
        print_line(f"the file had {before:,} bytes, and has {after:,} with {self._flags.orders // 2:,} more orders")
        if after > before * (1 + LARGEST_GROWTH):
            self._wrong["space that new orders do not use"] += 1


class Check(Protocol):
    """Checks a response. The first argument is the number of orders of the request."""

    def __call__(self, orders: int, response: Response, timing: RequestTiming, /) -> None: ...


def main(argv: Sequence[str]) -> int:
    parser = CommandParser("load.retention", description=__doc__)
    parser.add_argument("--orders", type=whole_number(MOST), default=ORDERS, help="how many old orders (%(default)s)")
    parser.add_folder()
    return Retention(parser.parse(argv)).execute()


def _server(folder: Path, file: Path, *flags: str) -> ServerProcess:
    command = ["server.py", "--port", "0", "--database", str(file.resolve()), *flags]
    return ServerProcess(command, log=folder / "log", stop_s=STOP_S)


def _export(server: ServerProcess) -> Iterator[tuple[int, Digest]]:
    """The id of each order, and a digest of the order as `GET /order/{id}` responds with it."""
    connection = http.client.HTTPConnection(server.url.host, server.url.port, timeout=TIMEOUTS.answer_s)
    with closing(connection), suppress(ConnectionError):
        connection.request("GET", "/orders?format=ndjson&oldest_first=true")
        for line in connection.getresponse():
            yield json.loads(line)["order_id"], _digest(line.partition(CURSOR)[0] + b"}")


def _digest(line: bytes) -> Digest:
    return blake2b(line, digest_size=8).digest()


def _body(order_id: int) -> bytes:
    return GeneratedOrders(first_id=order_id, count=1).body(0)
