"""Defines a fake server that has orders from the start, and reports their number in its metrics."""

import msgspec

from tests.load.shop import Shop


class StockedShop(Shop):
    """A shop with the Completed orders 1 to `stored`. Orders in `missing` are counted, but a GET of them gets a 404."""

    def __init__(self, stored: int, *, missing: tuple[int, ...] = ()) -> None:
        super().__init__()
        self._orders = {order_id: {"order_id": msgspec.Raw(b"%d" % order_id)} for order_id in range(1, stored + 1)}
        self._missing = missing

    def _metrics(self) -> tuple[int, bytes]:
        return 200, b'{"pending_orders": 0, "processing_orders": 0, "completed_orders": %d}' % len(self._orders)

    def _find(self, name: str) -> tuple[int, bytes]:
        return (404, b"{}") if int(name) in self._missing else super()._find(name)
