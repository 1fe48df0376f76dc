"""A dispatcher's turns, one call each, whose changes are told as the server tells them; and a api with limits."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from models.order import Order, Status
from models.writes import FinishAndClaim, Outcome
from tests.handlers.running_api import RunningApi
from tests.models.samples import Clock
from workers.service import ServiceLimits


async def claim(api: RunningApi, limit: int = 1_000) -> list[Order]:
    """Up to `limit` orders, Processing from now on."""
    return await _turn(api, (), (), limit)


async def end(
    api: RunningApi,
    orders: Sequence[Order],
    status: Status = Status.COMPLETED,
    error: str | None = None,
    due_us: int | None = None,
) -> None:
    """Ends an attempt at each of the orders, all alike."""
    outcomes = [Outcome(order.sequence, order.claims, status, error, due_us) for order in orders]
    await _turn(api, outcomes, orders, 0)


async def process(api: RunningApi, status: Status = Status.COMPLETED, error: str | None = None) -> None:
    """One attempt at every order that is Pending."""
    await end(api, await claim(api), status, error)


async def _turn(api: RunningApi, outcomes: Sequence[Outcome], attempted: Sequence[Order], limit: int) -> list[Order]:
    return (await api.orders.finish_and_claim(FinishAndClaim(outcomes, limit, attempted))).orders


@asynccontextmanager
async def limited(folder: Path, **limits: int) -> AsyncIterator[RunningApi]:
    """A api with some limits of ServiceLimits or TelemetryLimits changed."""
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
