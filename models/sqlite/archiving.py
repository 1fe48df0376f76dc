"""In a write transaction, deletes archived orders and erases personal data. Finds expired orders.

Runs on the thread that opened the transaction; `find_expired` runs on the caller's thread.
"""

from collections.abc import Sequence

import msgspec

from models.errors import OrderArchivedError, WrongStatusError
from models.identity.fingerprint import fingerprint
from models.order import ERASED_USER, Order, Status
from models.sqlite import archiving_statements as statements
from models.sqlite.blocks import BLOCK_BITS
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.transaction import Transaction
from models.transactions.archiving import ExpiredOrders
from models.transactions.commands import CAN_BE_ERASED, wrong_status
from models.wire import decode_orders, encode_numbers
from models.writes.archiving import ArchiveOrders
from models.writes.commands import Erase

EraseResult = Order | WrongStatusError | OrderArchivedError | None


def archive(transaction: Transaction, commands: Sequence[ArchiveOrders]) -> list[bool]:
    """Deletes the orders of each command. Returns a result for each one, as `ArchiveOrders` documents."""
    return [_archive(transaction, command) for command in commands]


def _archive(transaction: Transaction, command: ArchiveOrders) -> bool:
    orders, member = command.orders, command.member
    execute = transaction.database.execute_sql
    versions = _encode([(order.sequence, order.user_id) for order in orders])
    [unchanged] = execute(statements.COUNT_UNCHANGED, (versions,)).fetchone()
    if unchanged < len(orders):
        return False
    _add_fingerprints(transaction, command.fingerprints)
    sequences = encode_numbers([order.sequence for order in orders])
    for statement in (statements.DELETE_ATTEMPTS, statements.DELETE_ORDERS):
        execute(statement, (sequences,))
    blocks = encode_numbers(sorted({order.sequence >> BLOCK_BITS for order in orders}))
    for statement in (statements.UPDATE_BLOCKS, statements.DELETE_BLOCKS):
        execute(statement, (blocks,))
    if member is not None:
        execute(statements.SET_MEMBER, member)
    transaction.change.add_archived(orders)
    return True


def erase(transaction: Transaction, commands: Sequence[Erase]) -> list[EraseResult]:
    """Erases the personal data of orders. Returns a result for each command, as `Erase` documents."""
    order_ids = [each.order_id for each in commands]
    found = transaction.find(order_ids)
    ended = [order for order in found.values() if order.status not in (Status.PENDING, Status.PROCESSING)]
    _add_fingerprints(
        transaction, [(order.order_id, fingerprint(order)) for order in ended if order.user_id != ERASED_USER]
    )
    sequences = encode_numbers([order.sequence for order in ended])
    for statement in (statements.ERASE_ATTEMPTS, statements.ERASE_ORDERS):
        transaction.database.execute_sql(statement, (sequences,))
    erased = transaction.find([order.order_id for order in ended])
    results: list[EraseResult] = [
        erased.get(each) or wrong_status(found.get(each), needed=CAN_BE_ERASED) for each in order_ids
    ]
    return transaction.with_archived(order_ids, results)


def find_expired(database: RetryingSqliteDatabase, *, ended_before_us: int, after: int, limit: int) -> ExpiredOrders:
    """Expired orders, as `Store.find_expired` documents. All orders of the result are in the same block."""
    parameters = {"before_us": ended_before_us, "after": after, "limit": limit}
    block, orders = database.execute_sql(statements.FIND_EXPIRED, parameters).fetchone()
    if block is None:
        return ExpiredOrders([], None)
    expired = decode_orders(orders)
    return ExpiredOrders(expired, expired[-1].sequence if len(expired) == limit else (block + 1 << BLOCK_BITS) - 1)


def _add_fingerprints(transaction: Transaction, fingerprints: Sequence[tuple[int, int]]) -> None:
    if fingerprints:
        transaction.database.execute_sql(statements.ADD_FINGERPRINTS, (_encode(fingerprints),))
        transaction.has_fingerprints = True


def _encode(pairs: Sequence[tuple[int, int]]) -> str:
    return msgspec.json.encode(pairs).decode()
