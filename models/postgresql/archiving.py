"""In a write transaction, deletes archived orders and erases personal data.

Runs on the thread that opened the transaction; `ArchivingPermission` runs on the thread of the retention.
"""

from collections.abc import Sequence

import msgspec

from models.errors import OrderArchivedError, WrongStatusError
from models.identity.fingerprint import fingerprint
from models.order import ERASED_USER, Order
from models.postgresql import archiving_statements as statements
from models.postgresql.schema.steps import ARCHIVE_VERSION
from models.postgresql.statements import BLOCK_BITS
from models.postgresql.transaction import Connection, Transaction, array, one_row
from models.transactions.commands import CAN_BE_ERASED, wrong_status
from models.wire import decode_numbers
from models.writes.archiving import ArchiveOrders
from models.writes.commands import Erase

EraseResult = Order | WrongStatusError | OrderArchivedError | None


class ArchivingPermission:
    """Finds out whether this server may archive orders: see `Store.may_archive`. Used on one thread."""

    def __init__(self) -> None:
        self._end_of_running: str | None = None

    def ask(self, connection: Connection) -> bool:
        """Whether orders may be archived now. Before the first order is archived, announces the archiving."""
        parameters = {"version": ARCHIVE_VERSION}
        is_begun, is_allowed = one_row(connection.execute(statements.MAY_ARCHIVE, parameters))
        return is_allowed and (is_begun or self._begin(connection))

    def _begin(self, connection: Connection) -> bool:
        # The announcement can be missing although this server has made it, because a standby has become the primary.
        is_new = connection.execute(statements.ANNOUNCE).fetchone() is not None
        if is_new or self._end_of_running is None:
            [self._end_of_running] = one_row(connection.execute(statements.END_OF_RUNNING))
        return connection.execute(statements.BEGIN_ARCHIVING, {"end": self._end_of_running}).fetchone() is not None


def archive(transaction: Transaction, commands: Sequence[ArchiveOrders]) -> list[bool]:
    """Deletes the orders of each command. Returns a result for each one, as `ArchiveOrders` documents."""
    return [_archive(transaction, command) for command in commands]


def _archive(transaction: Transaction, command: ArchiveOrders) -> bool:
    orders, member = command.orders, command.member
    sequences = array(order.sequence for order in orders)
    erased = array(order.sequence for order in orders if order.user_id == ERASED_USER)
    [unchanged] = one_row(transaction.execute(statements.LOCK_UNCHANGED, sequences=sequences, erased=erased))
    if unchanged < len(orders):
        return False
    _add_fingerprints(transaction, command.fingerprints)
    for statement in statements.DELETE:
        transaction.execute(statement, sequences=sequences)
    blocks = {order.sequence >> BLOCK_BITS for order in orders}
    transaction.execute(statements.DELETE_BLOCKS, blocks=array(blocks))
    if member is not None:
        transaction.execute(statements.SET_MEMBER, archive=member.archive, number=member.number)
    transaction.change.add_archived(orders)
    return True


def erase(transaction: Transaction, commands: Sequence[Erase]) -> list[EraseResult]:
    """Erases the personal data of orders. Returns a result for each command, as `Erase` documents."""
    order_ids = [each.order_id for each in commands]
    candidates = array(order.sequence for order in transaction.find(order_ids).values())
    [locked] = one_row(transaction.execute(statements.LOCK_ENDED, sequences=candidates))
    ended = set(decode_numbers(locked))
    # Read again after the lock: another server can have erased or retried an order.
    found = transaction.find(order_ids)
    orders = [order for order in found.values() if order.sequence in ended]
    _add_fingerprints(
        transaction, [(order.order_id, fingerprint(order)) for order in orders if order.user_id != ERASED_USER]
    )
    for statement in statements.ERASE:
        transaction.execute(statement, sequences=array(order.sequence for order in orders))
    erased = transaction.find([order.order_id for order in orders])
    results: list[EraseResult] = [
        erased.get(each) or wrong_status(found.get(each), needed=CAN_BE_ERASED) for each in order_ids
    ]
    return transaction.with_archived(order_ids, results)


def _add_fingerprints(transaction: Transaction, fingerprints: Sequence[tuple[int, int]]) -> None:
    if fingerprints:
        transaction.execute(statements.ADD_FINGERPRINTS, fingerprints=msgspec.json.encode(fingerprints).decode())
