"""An order as it comes in and as it is stored, and how many there are.

Pure values: they belong to no thread.
"""

import enum
import functools
import time
from decimal import Decimal

from msgspec import Struct

from models.parsing.strict_json import same_value

AMOUNT_PLACES = 4
"""Amounts are integers of ten-thousandths: as many places as any ISO 4217 currency has."""


class Status(enum.StrEnum):
    """Pending → Processing → Completed or Failed. A failed attempt that is to be made again, or one that was cut off,
    goes back to Pending; a person may cancel a Pending order, and have a Failed one tried again."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class NewOrder(Struct, frozen=True, gc=False, array_like=True):
    """A valid order that is not stored yet.

    `total_amount` is in ten-thousandths; `metadata` is the text of a JSON object, kept as it was given.
    """

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: int
    metadata: str | None = None

    def is_same_as(self, stored: "Order") -> bool:
        """Whether this is the stored order again: the same four values, and metadata of equal value."""
        return (
            self.user_id == stored.user_id
            and self.item_ids == stored.item_ids
            and self.total_amount == stored.total_amount
            and same_value(self.metadata, stored.metadata)
        )

    def claimed(self, sequence: int, now_us: int) -> "Order":
        """The order as it is stored when its first attempt begins as soon as it is accepted."""
        return Order(
            sequence,
            self.order_id,
            self.user_id,
            self.item_ids,
            self.total_amount,
            self.metadata,
            Status.PROCESSING,
            1,
            1,
            None,
            now_us,
            None,
        )


class Order(Struct, frozen=True, gc=False, array_like=True):
    """A stored order. Times are microseconds since 1970, UTC.

    `sequence` counts in the order of acceptance. `attempts` are those that count, `claims` all that ever began: the
    number of the claim tells its attempt from every other one.
    """

    sequence: int
    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: int
    metadata: str | None
    status: Status
    attempts: int
    claims: int
    error: str | None
    created_us: int
    processed_us: int | None

    @property
    def attempt(self) -> "Attempt":
        """The latest attempt at it."""
        return Attempt(self.sequence, self.claims, self.attempts)


class Attempt(Struct, frozen=True, gc=False, array_like=True):
    """One attempt at an order: `claim` tells it from every other one, `number` counts from 1 and says what it cost."""

    sequence: int
    claim: int
    number: int


class Totals(Struct, frozen=True, gc=False):
    """How many orders there are in each state, exactly; `processing_us` is the sum over the completed ones."""

    pending: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    processing_us: int
    oldest_pending_us: int | None
    """When the oldest Pending order was accepted; None where none is Pending."""

    @property
    def orders(self) -> int:
        return self.pending + self.processing + self.completed + self.failed + self.cancelled


def amount_as_decimal(ten_thousandths: int) -> Decimal:
    """The exact amount, written without an exponent and without needless zeros."""
    whole, fraction = divmod(ten_thousandths, 10**AMOUNT_PLACES)
    if not fraction:
        return Decimal(whole)
    return Decimal(f"{whole}.{fraction:0{AMOUNT_PLACES}}".rstrip("0"))


def time_as_text(time_us: int) -> str:
    """`2025-03-01 12:00:00`, UTC, for microseconds since 1970."""
    return _second_as_text(time_us // 1_000_000)


@functools.lru_cache(maxsize=4096)
def _second_as_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
