"""Reads the counts of orders from a server's metrics. Runs on the event loop."""

from typing import Annotated, Self

import msgspec

from load.cli.errors import CommandError
from load.cli.flags import HIGHEST
from load.http.address import Address
from load.http.connection import Response, send_once

Count = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST)]


class NoMetrics(CommandError):
    """The response to GET /metrics does not have the counts of orders."""


class NotAllowed(NoMetrics):
    """The server rejected the API key, or requires one. `status` is 401 or 403."""

    def __init__(self, status: int) -> None:
        super().__init__(f"GET /metrics: status {status}")
        self.status = status


class Metrics(msgspec.Struct, frozen=True):
    """The numbers of orders by status, as in the response to GET /metrics.

    `archived_orders` of them have left the database.
    """

    pending_orders: Count
    processing_orders: Count
    completed_orders: Count
    failed_orders: Count = 0
    cancelled_orders: Count = 0
    archived_orders: Count = 0

    @property
    def waiting(self) -> int:
        """The number of orders that are not processed: they are Pending or Processing."""
        return self.pending_orders + self.processing_orders

    @property
    def finished(self) -> int:
        return self.completed_orders + self.failed_orders + self.cancelled_orders

    @property
    def orders(self) -> int:
        """The number of orders in any status."""
        return self.waiting + self.finished

    @classmethod
    def parse(cls, response: Response) -> Self:
        """Read a response to GET /metrics. Raises NoMetrics unless each count is a whole number of at least 0."""
        if response.status in (401, 403):
            raise NotAllowed(response.status)
        if response.status != 200:
            raise NoMetrics(f"GET /metrics: status {response.status}")
        try:
            return msgspec.json.decode(response.body, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise NoMetrics(f"GET /metrics: {problem}") from None


async def count_received(receiver: Address) -> int:
    """Return how many requests a reference server has received, without this one. Raises the errors of `send_once`."""
    return int((await send_once(receiver, receiver.get("/"))).body) - 1


async def read_metrics(address: Address) -> Metrics:
    """Request the metrics on a new connection. Raises NoResponse or NoMetrics."""
    return Metrics.parse(await send_once(address, address.get("/metrics")))
