"""The requests of the trials, encoded, and the loads that are made of them. Runs on the event loop."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from random import Random

from load.bench.measurement import Check, Measurement, expect
from load.bench.row import Row
from load.bench.trial import Load, Server, Trial
from load.http.address import Address
from load.orders.responses import fault_of_bulk, fault_of_post

BODY = b'{"order_id": %d, "user_id": %d, "item_ids": [101, 102, 103], "total_amount": 99.99}'
USERS = 100_000
# Coprime to USERS: orders with neighbouring ids have users far apart, and all users occur.
STRIDE = 61_803
AT_ONCE = 1000
STORED_ORDERS = 10_000
PER_SECOND = 500
# A share of the time: enough for the work that the round before left, such as the closing of its connections.
LEAD_IN = 0.25
ARRAY_SIZE = 1000
ARRAY_CLIENTS = 4
# Half as many orders as may be Pending: a measurement ends with them even before its time is over.
MAX_ARRAYS = 500
# More than the server takes, so that requests which are encoded beforehand last for the whole time.
ARRAYS_PER_SECOND = 500
ORDERS_PER_SECOND = 20_000
METRICS_GETS = 50

new_order = expect(202, fault_of_post)
new_array = expect(202, partial(fault_of_bulk, size=ARRAY_SIZE))
found = expect(200)


def body(order_id: int) -> bytes:
    """Return an order as JSON; 100,000 consecutive orders are of 100,000 users."""
    return BODY % (order_id, order_id * STRIDE % USERS + 1)


def posts(address: Address, ids: Iterator[int]) -> Iterator[bytes]:
    return (address.post("/order", body(order_id)) for order_id in ids)


def array_posts(address: Address, ids: Iterator[int], *, size: int) -> Iterator[bytes]:
    """Post the orders in arrays of `size`, without end."""
    while True:
        yield address.post("/orders", b"[%s]" % b",".join(map(body, islice(ids, size))))


def gets(server: Server) -> Iterator[bytes]:
    """Ask for stored orders at random, without end; the same seed gives the same sequence."""
    random = Random(next(server.seeds))
    # Encoded one by one, so that their number makes no difference.
    before, after = server.address.get("/order/#").split(b"#")
    while True:
        yield b"%s%d%s" % (before, 1 + int(random.random() * server.stored), after)


async def post_orders(trial: Trial, server: Server) -> Measurement:
    """Send `POST /order` in a closed loop."""
    requests = posts(server.address, server.ids)
    return await trial.meter.throughput(server.address, requests, new_order, seconds=trial.seconds)


async def post_encoded_orders(trial: Trial, server: Server) -> Measurement:
    """Do the same with requests that were encoded beforehand, so that the server does not wait for that."""
    requests = list(islice(posts(server.address, server.ids), int(ORDERS_PER_SECOND * trial.seconds)))
    return await trial.meter.throughput(server.address, iter(requests), new_order, seconds=trial.seconds)


async def post_at_once(trial: Trial, server: Server) -> Measurement:
    """Connect 1,000 clients at once and send an order from each."""
    requests = islice(posts(server.address, server.ids), AT_ONCE)
    return await trial.meter.throughput(server.address, requests, new_order, clients=AT_ONCE)


async def post_arrays(trial: Trial, server: Server) -> Measurement:
    """Send `POST /orders`, encoded beforehand, in a closed loop; counts orders, not requests."""
    number = max(1, min(MAX_ARRAYS, int(ARRAYS_PER_SECOND * trial.seconds)))
    requests = list(islice(array_posts(server.address, server.ids, size=ARRAY_SIZE), number))
    measured = await trial.meter.throughput(
        server.address, iter(requests), new_array, clients=ARRAY_CLIENTS, seconds=trial.seconds
    )
    measured.right *= ARRAY_SIZE
    return measured


async def post_at_rate(trial: Trial, server: Server) -> Measurement:
    """Send 500 `POST /order` a second in an open loop."""
    return await _send_at_rate(trial, server, posts(server.address, server.ids), new_order)


async def get_orders(trial: Trial, server: Server) -> Measurement:
    """Send `GET /order/{id}` of random stored orders in a closed loop."""
    return await trial.meter.throughput(server.address, gets(server), found, seconds=trial.seconds)


async def get_at_rate(trial: Trial, server: Server) -> Measurement:
    """Send 500 `GET /order/{id}` a second, of random stored orders, in an open loop."""
    return await _send_at_rate(trial, server, gets(server), found)


async def get_metrics(trial: Trial, server: Server) -> Measurement:
    """Send `GET /metrics` one after another on one connection."""
    requests = repeat(server.address.get("/metrics"), 1 + METRICS_GETS)
    measured = await trial.meter.throughput(server.address, requests, found, clients=1)
    # The first one includes the connecting.
    del measured.latencies_ns[:1]
    return measured


def settled(load: Load) -> Load:
    """Return the load followed by a wait, measured by itself, until all orders are processed."""

    async def load_and_wait(trial: Trial, server: Server) -> Measurement:
        measured = await load(trial, server)
        measured.empty_after_s = await trial.wait_until_processed(server.address)
        return measured

    return load_and_wait


async def store_orders(trial: Trial, row: Row) -> Trial:
    """Have our server store and process the orders 1 to STORED_ORDERS; returns the trial in which all servers do."""
    address, ids = trial.ours.address, trial.ours.ids
    requests = islice(posts(address, ids), STORED_ORDERS)
    row.wrong.update((await trial.meter.throughput(address, requests, new_order)).wrong)
    await trial.wait_until_processed(address)
    return replace(trial, servers=[server._replace(stored=STORED_ORDERS) for server in trial.servers])


async def _send_at_rate(trial: Trial, server: Server, requests: Iterator[bytes], check: Check) -> Measurement:
    return await trial.meter.latency(
        server.address, requests, check, per_second=PER_SECOND, seconds=trial.seconds, lead_in_s=LEAD_IN * trial.seconds
    )
