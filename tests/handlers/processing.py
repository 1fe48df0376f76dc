"""A dispatcher's turns, one call each, whose changes are told as the server tells them; and a service with limits."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from models.order import Order, Status
from models.writes import Claimed, Outcome, Turn
from tests.handlers.service import Service
from tests.models.samples import Clock


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
    return cast(Claimed, await service.writes.submit(Turn(outcomes, limit, attempted), even_if_full=True)).orders


@asynccontextmanager
async def limited(folder: Path, **limits: int) -> AsyncIterator[Service]:
    """A service of which some attributes are set before it is opened."""
    service = Service(folder / "limited.db", Clock())
    for name, value in limits.items():
        assert hasattr(service, name)
        setattr(service, name, value)
    await service.open()
    try:
        yield service
    finally:
        await service.close()
