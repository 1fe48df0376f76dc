"""What the flags say about old orders. Immutable values; usable on any thread."""

from pathlib import Path
from typing import NamedTuple, Protocol

from models.order import Order


class RetentionSettings(NamedTuple):
    """Orders that ended more than `keep_s` seconds ago are deleted, after they were written to the folder `archive`."""

    keep_s: int
    archive: Path | None = None


class OrderLines(Protocol):
    """Encodes orders for the archive."""

    def __call__(self, order: Order, /) -> bytes:
        """The JSON of the order in one line, as `GET /order/{id}` responds with it. Can be called on any thread."""
