"""Owns the look at a shop when all harm is over: is everything processed, there and as sent; on the loop's thread."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from load.backlog import Backlog, BacklogState
from load.chaos.asking import Client
from load.chaos.file_audit import MICROSECONDS, audit_file
from load.chaos.findings import Findings, findings_of
from load.chaos.lifecycle import Lifecycle
from load.chaos.outsider import last_due_us
from load.chaos.shop import Shop
from load.http.closed_loop import ClosedLoop
from load.http.connections import Timeouts
from load.orders.comparison import BadJson, decode_json
from load.readback import OrderReader

TIMEOUTS = Timeouts(processing_s=60.0, poll_s=0.1)
"""60 s without any progress: stuck."""
READERS = 16


class Inspection:
    """Looks at shops whose clients have ended; `time_s` is the time of day, in which orders are due."""

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        clock_ns: Callable[[], int],
        time_s: Callable[[], float],
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self._lifecycle = lifecycle
        self._clock_ns = clock_ns
        self._time_s = time_s
        self._timeouts = timeouts

    async def settle(self, shop: Shop) -> bool:
        """Wait until everything is processed; False where nothing moves any more, or nobody says how much is left."""
        backlog = Backlog(shop.address, timeouts=self._timeouts, clock_ns=self._clock_ns)
        try:
            while True:
                state = await backlog.wait(before=0)
                due_s = await asyncio.to_thread(last_due_us, shop.database) / MICROSECONDS
                wait_s = due_s - self._time_s()
                if state is not BacklogState.STUCK or wait_s <= 0:
                    return state is BacklogState.PROCESSED
                # An order that was tried often waits for longer than the timeouts lasts.
                await asyncio.sleep(wait_s)
        finally:
            backlog.close()

    async def read(self, shop: Shop, *, taken: set[int] | None) -> Findings:
        """Read every acknowledged order back, end the server, and look at its file."""
        clients = ClosedLoop(shop.address, count=READERS, timeouts=self._timeouts, clock_ns=self._clock_ns)
        read_back = OrderReader(
            address=shop.address,
            source=shop.ledger.orders,
            clients=clients,
            timeouts=self._timeouts,
            clock_ns=self._clock_ns,
        )
        try:
            await read_back.read(shop.ledger.acknowledged_indexes(), again=False)
        finally:
            clients.close()
        metrics = await self._metrics(shop)
        await self._lifecycle.terminate(shop)
        file = await asyncio.to_thread(audit_file, shop.database, shop.ledger, metrics=metrics, taken=taken)
        return findings_of(shop.name, read_back.result, file, wrong=shop.wrong)

    async def _metrics(self, shop: Shop) -> Mapping[str, Any]:
        client = Client(shop)
        try:
            async with asyncio.timeout(self._timeouts.answer_s):
                told = await client.ask(shop.address.get("/metrics"))
            metrics = decode_json(told.answer.body)
        except (TimeoutError, BadJson):
            metrics = None
        finally:
            client.close()
        return metrics if isinstance(metrics, dict) else {}
