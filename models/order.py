"""A stored order, its status, and the totals over all orders. Immutable values; usable on any thread."""

import enum
import functools
import time
from decimal import Decimal

from msgspec import Struct

from models.errors import OrderArchivedError, StorageError

AMOUNT_PLACES = 4
"""Amounts are stored as integers, in ten-thousandths. No ISO 4217 currency has more than four decimal places."""
_FORMAT = b"%%d.%%0%dd" % AMOUNT_PLACES


ERASED_USER = 0
"""The `user_id` of an order whose personal data was erased. No other order has this `user_id`."""


class Status(enum.StrEnum):
    """An order is Pending, then Processing, then Completed or Failed.

    If an attempt fails or is interrupted and the order is retried, the order becomes Pending again. A Pending order can
    be cancelled. A Failed order can be retried.
    """

    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class Order(Struct, frozen=True, gc=False):
    """A stored order. Times are microseconds since 1970, UTC. `total_amount` is in ten-thousandths.

    `processed_us` is when the order became Completed or Failed. This time is `created_us` plus the time that has really
    passed, even if somebody set the wall clock in the meantime. `metadata` is the text of a JSON object.

    `sequence` numbers all orders in the order of acceptance. `attempts` counts the attempts that count towards
    `--max-attempts`. `claims` counts all attempts, so its value identifies the latest attempt.
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
    due_us: int | None = None
    """When the next attempt is due, in wall clock time; None if the order does not wait for a retry."""
    trace_headers: str | None = None
    """Headers of the request that sent the order: see `models/trace_headers.py`."""

    @property
    def attempt(self) -> "Attempt":
        """The latest attempt."""
        return Attempt(self.sequence, self.claims, self.attempts)


class Attempt(Struct, frozen=True, gc=False):
    """One attempt at an order. `claim` and `number` are the order's `claims` and `attempts` during this attempt."""

    sequence: int
    claim: int
    number: int


class Ending(enum.StrEnum):
    """How an attempt at an order ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    REJECTED = "rejected"
    """The processor said that a retry would not help."""
    TIMED_OUT = "timed_out"
    """The attempt did not end within `--attempt-timeout`."""
    INTERRUPTED = "interrupted"
    """The process ended during the attempt."""
    STOPPED = "stopped"
    """The server stopped during the attempt. The attempt does not count towards `--max-attempts`."""


class AttemptRecord(Struct, frozen=True, gc=False):
    """One attempt in the history of an order. Times are microseconds since 1970, UTC.

    `ended_us` and `ending` are None while the attempt is running. `started_us` is None if the attempt was started by a
    version of the server that did not store this time.
    """

    number: int
    started_us: int | None
    ended_us: int | None
    ending: Ending | None
    error: str | None


MAX_COUNTED_WAITING = 10_000
"""`Totals.waiting` counts at most this number of orders. To count a million would take longer than 100 ms."""


class Totals(Struct, frozen=True, gc=False):
    """The exact number of orders in each status, archived orders included, and whether processing is paused.

    `processing_us` is the sum, over all Completed orders, of the microseconds from acceptance to completion.
    """

    pending: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    processing_us: int
    oldest_pending_us: int | None
    """When the oldest Pending order that is due was accepted, in steady time (`models/clock.py`); None if none is due.

    Of the orders whose retry is due, but which the store has not made ready yet, only the order with the earliest due
    time is considered.
    """
    is_paused: bool = False
    waiting: int = 0
    """The number of Pending orders that wait for a retry, but at most `MAX_COUNTED_WAITING`."""
    archived: int = 0
    """How many of the Completed and Cancelled orders were archived."""

    @property
    def orders(self) -> int:
        """The number of all orders."""
        return self.pending + self.processing + self.completed + self.failed + self.cancelled


Found = Order | StorageError | OrderArchivedError | None
"""The result of the search for an order. None if there is no order with this id."""


def amount_as_decimal(ten_thousandths: int) -> Decimal:
    """The exact amount as a Decimal. Converted to a string, it has no exponent and no trailing zeros."""
    return Decimal(amount_as_json(ten_thousandths).decode())


def amount_as_json(ten_thousandths: int) -> bytes:
    """The exact amount as a JSON number without an exponent or trailing zeros, such as `99.99`."""
    whole, fraction = divmod(ten_thousandths, 10**AMOUNT_PLACES)
    return (_FORMAT % (whole, fraction)).rstrip(b"0") if fraction else b"%d" % whole


def time_as_texts(time_us: int) -> tuple[str, str]:
    """Converts microseconds since 1970 to `2025-03-01 12:00:00` and `2025-03-01T12:00:00.000000Z` (RFC 3339)."""
    seconds, microseconds = divmod(time_us, 1_000_000)
    text, begin = _second_as_texts(seconds)
    return text, "%s%06dZ" % (begin, microseconds)  # noqa: UP031 - faster than an f-string


@functools.lru_cache(maxsize=4096)
def _second_as_texts(seconds: int) -> tuple[str, str]:
    """Converts seconds since 1970 to `2025-03-01 12:00:00` and `2025-03-01T12:00:00.`, in UTC."""
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return text, f"{text.replace(' ', 'T')}."
