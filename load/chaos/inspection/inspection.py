"""Reads all orders of a target back, stops its servers, and has its database checked. Runs on the event loop."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from types import MappingProxyType

from load.chaos.clients.client import RetryingClient
from load.chaos.inspection.audit import audit_database
from load.chaos.report import DIFFERING, MISSING, STUCK, WRONG, Findings
from load.chaos.target import Target
from load.http.connections import Timeouts
from load.orders.comparison import BadJson, decode_json
from load.readback.backlog import Backlog, BacklogState
from load.readback.order_reader import OrderReader
from load.results.result import ReadBackResult

READERS = 16


async def wait_until_processed(target: Target, *, timeouts: Timeouts) -> bool:
    """Wait until all orders are processed. Return False if progress stops or the metrics can't be read."""
    with closing(Backlog(target.nodes[0].address, timeouts=timeouts, clock_ns=time.monotonic_ns)) as backlog:
        # `wait` also returns when the orders of the first poll are processed, but later orders are left.
        while (state := await backlog.wait(before=0)) is BacklogState.PROCESSED and backlog.left:
            pass
        return state is BacklogState.PROCESSED


async def inspect(
    target: Target,
    *,
    delivered: Mapping[int, int] | None,
    answered: Mapping[int, int] = MappingProxyType({}),
    timeouts: Timeouts,
) -> None:
    """Read every acknowledged order back, stop the servers, and check their database. Adds findings.

    If there are several servers, each order is read from another server than the one that acknowledged it. `delivered`
    and `answered`: see `audit_database`.
    """
    findings = target.findings
    results = []
    for number, node in enumerate(target.nodes):
        reader = OrderReader(
            address=node.address,
            source=target.ledger.orders,
            timeouts=timeouts,
            clock_ns=time.monotonic_ns,
            gone=target.gone if target.archives else None,
        )
        results.append(await reader.read(target.orders_to_read(number), again=False, connections=READERS))
    metrics = None
    with closing(RetryingClient(target)) as client, suppress(TimeoutError, BadJson):
        async with asyncio.timeout(timeouts.answer_s):
            metrics = decode_json((await client.send(target.address.get("/metrics"))).answer.body)
    await target.terminate()
    audit = partial(
        audit_database,
        target.database,
        target.ledger,
        findings,
        metrics=metrics,
        archives=target.archives,
        gone=target.gone,
    )
    await asyncio.to_thread(audit, delivered=delivered, answered=answered)
    for result in results:
        add_read_back(findings, result)
    for order_id in delivered or ():
        if target.ledger.index_of(order_id) is None:
            findings.add(WRONG, "a webhook for an order that was never sent", order_id)
    findings.is_inspected = True


def add_read_back(findings: Findings, result: ReadBackResult) -> None:
    """Add the problems of orders that were read back, except those that `audit_database` has already added."""
    findings.acknowledged += result.acknowledged
    findings.add_orders(MISSING, dict.fromkeys(result.lost_ids, ""))
    findings.add_orders(DIFFERING, result.different)
    findings.add_orders(STUCK, result.unprocessed)
    for order_id, reason in result.unread.items():
        findings.add(WRONG, f"an order can't be read: {reason}", order_id)
