"""The inspection of a target server after all faults: are all orders processed and as sent? Runs on the event loop."""

import asyncio
import time
from contextlib import closing, suppress
from functools import partial

from load.backlog import Backlog, BacklogState
from load.chaos.clients import RetryingClient
from load.chaos.database import MICROSECONDS, audit_database, last_due_us
from load.chaos.report import DIFFERING, MISSING, STUCK, WRONG, Findings
from load.chaos.target import TargetServer
from load.http.connections import Timeouts
from load.orders.comparison import BadJson, decode_json
from load.readback import OrderReader
from load.results.read_back import ReadBackResult

TIMEOUTS = Timeouts(processing_s=60.0, poll_s=0.1)
"""Without any progress for 60 s, orders are stuck."""
READERS = 16


async def wait_until_processed(target: TargetServer, *, timeouts: Timeouts = TIMEOUTS) -> bool:
    """Wait until all orders are processed; return False without progress, or if the metrics can't be read."""
    with closing(Backlog(target.address, timeouts=timeouts, clock_ns=time.monotonic_ns)) as backlog:
        while True:
            state = await backlog.wait(before=0)
            if state is BacklogState.PROCESSED and backlog.left:
                # Only the orders of the first look are processed, and more were being stored.
                continue
            due_s = await asyncio.to_thread(last_due_us, target.database) / MICROSECONDS
            wait_s = due_s - time.time()
            if state is not BacklogState.STUCK or wait_s <= 0:
                return state is BacklogState.PROCESSED
            # After many attempts, an order waits for its next one longer than the timeouts.
            await asyncio.sleep(wait_s)


async def inspect(target: TargetServer, *, delivered: set[int] | None, timeouts: Timeouts = TIMEOUTS) -> None:
    """Read every acknowledged order back, end the server, audit its database, and add everything to its findings.

    `delivered` has the ids that the webhook receiver took; None if there is none.
    """
    findings = target.findings
    orders, indexes = target.ledger.orders, target.ledger.acknowledged_indexes()
    reader = OrderReader(address=target.address, source=orders, timeouts=timeouts, clock_ns=time.monotonic_ns)
    result = await reader.read(indexes, again=False, connections=READERS)
    metrics = None
    with closing(RetryingClient(target)) as client, suppress(TimeoutError, BadJson):
        async with asyncio.timeout(timeouts.answer_s):
            metrics = decode_json((await client.send(target.address.get("/metrics"))).answer.body)
    await target.terminate()
    audit = partial(audit_database, target.database, target.ledger, findings, metrics=metrics, delivered=delivered)
    await asyncio.to_thread(audit)
    add_read_back(findings, result)
    for order_id in delivered or ():
        if target.ledger.index_of(order_id) is None:
            findings.add(WRONG, "a webhook for an order that was never sent", order_id)
    findings.is_inspected = True


def add_read_back(findings: Findings, result: ReadBackResult) -> None:
    """Add what was wrong with the orders that were read back, unless the audit found it, too."""
    findings.acknowledged = result.acknowledged
    findings.add_orders(MISSING, dict.fromkeys(result.lost, ""))
    findings.add_orders(DIFFERING, result.different)
    findings.add_orders(STUCK, result.unprocessed)
    for order_id, reason in result.unread.items():
        findings.add(WRONG, f"an order can't be read: {reason}", order_id)
