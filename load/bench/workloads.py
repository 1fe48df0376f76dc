"""Defines the loads of trials, and prepares the servers. Loads run on the event loop, servers start outside it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import count, islice, repeat
from pathlib import Path
from random import Random

from load.bench.measurement import CLIENTS, Check, Measurement, expect
from load.bench.trial import Load, Row, Server, Trial
from load.fill.command import ARRAY_SIZE, fill
from load.http.address import Address
from load.orders.comparison import check_many, check_not_replayed
from load.system.reference_servers import BARE_TORNADO, DELAYS_S, reference_command, webhook_flags
from load.system.server_process import ServerProcess

CROWD = "1,000 clients connecting at once, one order each, until all have their 202"
STEADY = "p99 of POST /order at 500 orders/s, open loop"
BODY = b'{"order_id": %d, "user_id": %d, "item_ids": [101, 102, 103], "total_amount": 99.99}'
USERS = 100_000
STRIDE = 61_803  # Coprime to USERS, so that all users occur; consecutive orders have distant users.
AT_ONCE = 1000
STORED_ORDERS = 10_000
PER_SECOND = 500
# The warm-up as a share of the measurement's time. During the warm-up, the server closes the connections of the
# previous round.
WARM_UP = 0.25
ARRAY_CLIENTS = 4
MAX_ARRAYS = 500  # Arrays with half of the server's --max-backlog. A measurement ends early if all are sent.
# Requests are encoded beforehand. These rates are faster than the server, so that the requests last long enough.
ARRAYS_PER_SECOND = 500
ORDERS_PER_SECOND = 100_000
METRICS_GETS = 50
GUARDED, RECORD, FUNCTION, WEBHOOK, RECORDED = "guarded", "record", "function", "webhook", "recorded"
SQLITE, POSTGRESQL = "sqlite", "postgresql"
STATEMENTS = "statements"  # The file with the statements of the server RECORDED, in the folder of its trial.
KEY = "the-key-of-the-benchmark"
START_S = 60.0  # Long enough for a large file that must be read from the disk completely.

new_order = expect(202, check_not_replayed)
new_array = expect(202, partial(check_many, new=ARRAY_SIZE))
found = expect(200)


def body(order_id: int) -> bytes:
    """Return an order as JSON; 100,000 consecutive orders have 100,000 different users."""
    return BODY % (order_id, order_id * STRIDE % USERS + 1)


def posts(address: Address, ids: Iterator[int]) -> Iterator[bytes]:
    return (address.post("/order", body(order_id)) for order_id in ids)


def array_posts(address: Address, ids: Iterator[int], *, size: int) -> Iterator[bytes]:
    while True:
        yield address.post("/orders", b"[%s]" % b",".join(map(body, islice(ids, size))))


def gets(server: Server) -> Iterator[bytes]:
    """Yield requests `GET /order/{id}` for random stored orders, without end. `server.seeds` determines the orders."""
    random = Random(next(server.seeds))
    # Each request is encoded when it is sent, so that the requests need no memory.
    before, after = server.address.get("/order/#").split(b"#")
    while True:
        yield b"%s%d%s" % (before, 1 + int(random.random() * server.stored), after)


async def post_orders(trial: Trial, server: Server, *, clients: int = CLIENTS) -> Measurement:
    requests = posts(server.address, server.ids)
    return await trial.meter.throughput(server.address, requests, new_order, clients=clients, seconds=trial.seconds)


async def post_encoded_orders(trial: Trial, server: Server) -> Measurement:
    """Send `POST /order` in a closed loop. All requests are encoded before the measurement begins."""
    requests = list(islice(posts(server.address, server.ids), int(ORDERS_PER_SECOND * trial.seconds)))
    return await trial.meter.throughput(server.address, iter(requests), new_order, seconds=trial.seconds)


async def post_at_once(trial: Trial, server: Server) -> Measurement:
    requests = islice(posts(server.address, server.ids), AT_ONCE)
    return await trial.meter.throughput(server.address, requests, new_order, clients=AT_ONCE)


async def post_arrays(trial: Trial, server: Server) -> Measurement:
    """Send `POST /orders` in a closed loop, encoded beforehand. `right` counts orders, not requests."""
    number = max(1, min(MAX_ARRAYS, int(ARRAYS_PER_SECOND * trial.seconds)))
    requests = list(islice(array_posts(server.address, server.ids, size=ARRAY_SIZE), number))
    measured = await trial.meter.throughput(
        server.address, iter(requests), new_array, clients=ARRAY_CLIENTS, seconds=trial.seconds
    )
    measured.right *= ARRAY_SIZE
    return measured


async def post_at_rate(trial: Trial, server: Server) -> Measurement:
    return await _send_at_rate(trial, server, posts(server.address, server.ids), new_order)


async def get_orders(trial: Trial, server: Server) -> Measurement:
    return await trial.meter.throughput(server.address, gets(server), found, seconds=trial.seconds)


async def get_at_rate(trial: Trial, server: Server) -> Measurement:
    return await _send_at_rate(trial, server, gets(server), found)


async def get_metrics(trial: Trial, server: Server) -> Measurement:
    requests = repeat(server.address.get("/metrics"), 1 + METRICS_GETS)
    measured = await trial.meter.throughput(server.address, requests, found, clients=1)
    # The first latency includes the time to connect.
    del measured.latencies_ns[:1]
    return measured


def settled(load: Load) -> Load:
    """Return a load that runs `load` and waits until all orders are processed. `empty_after_s` is the waiting time."""

    async def load_and_wait(trial: Trial, server: Server) -> Measurement:
        measured = await load(trial, server)
        measured.empty_after_s = await trial.wait_until_processed(server.address)
        return measured

    return load_and_wait


async def store_orders(trial: Trial, row: Row) -> Trial:
    """Store the orders 1 to STORED_ORDERS in our server, and return the trial with `stored` set for all servers."""
    address, ids = trial.ours.address, trial.ours.ids
    requests = islice(posts(address, ids), STORED_ORDERS)
    row.wrong.update((await trial.meter.throughput(address, requests, new_order)).wrong)
    await trial.wait_until_processed(address)
    return replace(trial, servers=[server._replace(stored=STORED_ORDERS) for server in trial.servers])


async def _send_at_rate(trial: Trial, server: Server, requests: Iterator[bytes], check: Check) -> Measurement:
    return await trial.meter.latency(
        server.address, requests, check, per_second=PER_SECOND, seconds=trial.seconds, warm_up_s=WARM_UP * trial.seconds
    )


class TrialServers:
    """Prepares a trial's servers. `other` is the server in `checkout`.

    `ours` gets a copy of the file `stored`, or the PostgreSQL database with the URL `database`.
    """

    def __init__(self, folder: Path, *, stored: Path | None, checkout: Path | None, database: str = "") -> None:
        self.folder = folder
        self.database = database or str(folder / "orders.db")
        self._checkout = checkout
        self._logs = (folder / f"{number}.log" for number in count(1))
        if stored:
            with Path(shutil.copyfile(stored, folder / "orders.db")).open("rb") as copy:
                # Written to the disk now, so that the system does not write the copy during a trial.
                os.fsync(copy.fileno())

    def ours(self, *flags: str) -> ServerProcess:
        """Return our server on the trial's database, with additional flags; it is not started yet."""
        return self._process("server.py", "--port", "0", "--database", self.database, *flags)

    def named(self, name: str) -> ServerProcess:
        """Return the server with this name, not started yet. Raises the errors of `fill`.

        `ours`, `big` and `postgresql` are our server; `guarded` is our server with a key, a rate limit and the access
        log. `small` is our server on a new database with 10,000 orders, `twin` and `sqlite` on new databases without
        orders. `record`, `function` and `webhook` are our server on new databases, with these processors; webhooks go
        to the receiver that was started before. `recorded` is `ours`, and writes its statements to the file STATEMENTS.
        `other` is the server in the checkout. `bare` and the receivers are reference servers.
        """
        if name in ("ours", "big", POSTGRESQL):
            return self.ours()
        if name == GUARDED:
            keys = self.folder / "keys"
            keys.write_text(f"benchmark write {sha256(KEY.encode()).hexdigest()}\n")
            return self.ours("--api-keys", str(keys), "--rate-limit", "1000000/s", "--access-log")
        if name == RECORDED:
            recorded = ("-m", "load.bench.recorded_server", str(self.folder / STATEMENTS))
            return self._process(*recorded, "server.py", "--port", "0", "--database", self.database)
        if name in (BARE_TORNADO, *DELAYS_S):
            self._reference = self._process(*reference_command(name))
            return self._reference
        database = self.folder / name / "orders.db"
        database.parent.mkdir()
        if name == "small":
            fill(database, STORED_ORDERS)
        processor: tuple[str, ...] = ()
        if name == WEBHOOK:
            processor = webhook_flags(self._reference.url)
        elif name == FUNCTION:
            # Each run of a trial adds orders before the others are processed.
            processor = ("--processor", "load.fill.processors:do_nothing", "--max-backlog", "1000000000")
        program = str((self._checkout or Path()) / "server.py")
        return self._process(program, "--port", "0", "--database", str(database), *processor)

    def _process(self, *arguments: str) -> ServerProcess:
        return ServerProcess(arguments, log=next(self._logs), start_s=START_S)
