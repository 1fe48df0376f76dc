"""What a run is to do. Values, any thread."""

from dataclasses import dataclass, field
from pathlib import Path

from load.http.address import ServerUrl

KEY_VARIABLE = "ORDERS_KEY"
"""The environment variable with the API key."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one run is to do; `concurrency` is the number of connections, in an open loop the highest.

    A file to replay may have fewer than `orders`; the highest number means all of them. With `rate`, orders a second,
    the loop is open. `duration_s` is None if the number of orders ends the run. With `own_server`, the run starts a
    server and loads that one instead of `url`.
    """

    url: ServerUrl
    orders: int
    concurrency: int
    own_server: bool = False
    batch: int | None = None
    bulk: int | None = None
    rate: float | None = None
    duration_s: float | None = None
    warm_up_s: float = 0.0
    replay: Path | None = None
    first_id: int | None = None
    api_key: str = field(default="", repr=False)
    json: Path | None = None
    report: Path | None = None

    def connections_for(self, orders: int) -> int:
        """Return how many connections that many orders need."""
        return min(self.concurrency, -(-orders // (self.bulk or 1)))

    @property
    def mode(self) -> str:
        return "batches" if self.batch else "open loop" if self.rate else "closed loop"
