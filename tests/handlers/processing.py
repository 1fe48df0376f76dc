"""Processes orders step by step, as the dispatcher does. Also starts an API with limits that a test sets."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from models.order import Order, Status
from models.transactions.archiving import archive_orders
from models.writes.attempts import FinishAndClaim, Outcome
from tests.handlers.running_api import RunningApi
from tests.models.samples import Clock
from workers.service_limits import ServiceLimits


async def claim(api: RunningApi, limit: int = 1_000) -> list[Order]:
    """Claims up to `limit` orders, which become Processing."""
    return await _finish_and_claim(api, (), (), limit)


async def end(
    api: RunningApi,
    orders: Sequence[Order],
    status: Status = Status.COMPLETED,
    error: str | None = None,
    due_us: int | None = None,
) -> None:
    """Ends an attempt at each of the orders with this outcome."""
    outcomes = [Outcome(order.sequence, order.claims, status, error, due_us) for order in orders]
    await _finish_and_claim(api, outcomes, orders, 0)


async def process(api: RunningApi, status: Status = Status.COMPLETED, error: str | None = None) -> None:
    """Makes one attempt at every Pending order."""
    await end(api, await claim(api), status, error)


async def archive(api: RunningApi, *order_ids: int) -> None:
    """Archives these orders, which must have ended, as `--keep` does."""
    found = [await api.orders.find(order_id) for order_id in order_ids]
    write: Any = archive_orders([order for order in found if order])
    result: Any = await api.orders.finish_and_claim(write)
    assert result is True


async def _finish_and_claim(
    api: RunningApi, outcomes: Sequence[Outcome], attempted: Sequence[Order], limit: int
) -> list[Order]:
    return list((await api.orders.finish_and_claim(FinishAndClaim(outcomes, limit, attempted))).orders)


@asynccontextmanager
async def api_with_limits(folder: Path, **limits: int) -> AsyncIterator[RunningApi]:
    """An API with these values for fields of ServiceLimits or TelemetryLimits."""
    api = RunningApi(folder / "limited.db", Clock())
    for name, value in limits.items():
        if name in ServiceLimits._fields:
            api.limits = api.limits._replace(**{name: value})
        else:
            api.telemetry_limits = api.telemetry_limits._replace(**{name: value})
    await api.open()
    try:
        yield api
    finally:
        await api.close()
