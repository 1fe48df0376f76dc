"""A dispatcher's turns, one call each, whose changes are told as the server tells them; and a service with limits."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from models.order import Order, Status
from models.writes import FinishAndClaim, Outcome
from tests.handlers.service import Service
from tests.models.samples import Clock
from workers.service import ServiceLimits


async def claim(service: Service, limit: int = 1_000) -> list[Order]:
    """Up to `limit` orders, Processing from now on."""
    return await _turn(service, (), (), limit)


async def end(
    service: Service,
    orders: Sequence[Order],
    status: Status = Status.COMPLETED,
    error: str | None = None,
    due_us: int | None = None,
) -> None:
    """Ends an attempt at each of the orders, all alike."""
    outcomes = [Outcome(order.sequence, order.claims, status, error, due_us) for order in orders]
    await _turn(service, outcomes, orders, 0)


async def process(service: Service, status: Status = Status.COMPLETED, error: str | None = None) -> None:
    """One attempt at every order that is Pending."""
    await end(service, await claim(service), status, error)


async def _turn(service: Service, outcomes: Sequence[Outcome], attempted: Sequence[Order], limit: int) -> list[Order]:
    return (await service.orders.finish_and_claim(FinishAndClaim(outcomes, limit, attempted))).orders


@asynccontextmanager
async def limited(folder: Path, **limits: int) -> AsyncIterator[Service]:
    """A service with some limits of ServiceLimits or TelemetryLimits changed."""
    service = Service(folder / "limited.db", Clock())
    for name, value in limits.items():
        if name in ServiceLimits._fields:
            service.limits = service.limits._replace(**{name: value})
        else:
            service.telemetry_limits = service.telemetry_limits._replace(**{name: value})
    await service.open()
    try:
        yield service
    finally:
        await service.close()
