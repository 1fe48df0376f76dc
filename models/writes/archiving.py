"""The write that archives orders. Immutable values; usable on any thread."""

from collections.abc import Sequence
from typing import NamedTuple

from models.order import Order
from models.writes.write import Write


class ArchiveMember(NamedTuple):
    """The part of an archive that contains the orders of an `ArchiveOrders`. `archive` identifies the archive."""

    archive: int
    number: int


class ArchiveOrders(Write[bool], frozen=True, gc=False):
    """Delete these Completed or Cancelled orders, and keep only the fingerprint of each.

    If one of the orders is no longer as given, for example because it was erased, the result is False, and none is
    deleted. Stores `member` if it deletes the orders: see `Store.last_member`. `fingerprints` has the id and the
    fingerprint (`models/identity/fingerprint.py`) of each order that was not erased.
    `models.transactions.archiving.archive_orders` computes them.
    """

    orders: Sequence[Order]
    fingerprints: Sequence[tuple[int, int]]
    member: ArchiveMember | None = None
