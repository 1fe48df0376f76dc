"""Retries selected orders in several transactions, so that damaged orders are left out. Runs on the writer's thread."""

from collections.abc import Sequence
from functools import partial

from msgspec import structs

from models.database.health import Damage
from models.errors import StorageError
from models.sqlite.commands import retry_candidates, retry_selected
from models.sqlite.transactions import Transactions
from models.transactions.parts import Budget, run_in_parts
from models.writes.commands import OrderIds, RetriedOrders, RetryOrders


def retry_in_parts(
    transactions: Transactions, command: RetryOrders, budget: Budget
) -> tuple[RetriedOrders | StorageError, list[Damage]]:
    """Returns the result of the command, and the damage of the orders that were left out.

    If the budget is used up, `RetriedOrders.rest` selects the orders that were not tried. If no order was tried,
    returns an error instead of a RetriedOrders.
    """

    def retry(part: Sequence[int]) -> list[OrderIds | None]:
        selection = structs.replace(command.selection, after=part[0] - 1, last=part[-1])
        only_part = [RetryOrders(selection, len(part))]
        [retried] = transactions.run(partial(retry_selected, commands=only_part))
        by_sequence = {order.sequence: order for order in retried.orders}
        return [by_sequence.get(sequence) for sequence in part]

    if budget.error:
        return budget.error, []
    try:
        sequences, newest = transactions.run(partial(retry_candidates, command=command))
    except StorageError as error:
        budget.note(error)
        return error, [Damage("the list of orders to retry", error)]
    results, failed = run_in_parts(sequences, retry, budget)
    damaged = [Damage(f"the order with sequence {each}", error, ", and is not retried") for each, error in failed]
    untried = [result for result in results if isinstance(result, StorageError) and result is budget.error]
    tried = sequences[: len(sequences) - len(untried)]
    if untried and not tried:
        return untried[0], damaged
    retried = [result for result in results if isinstance(result, OrderIds)]
    if not untried and len(tried) < command.limit:
        return RetriedOrders(retried, None), damaged
    last = newest if command.selection.last is None else command.selection.last
    return RetriedOrders(retried, structs.replace(command.selection, after=tried[-1], last=last)), damaged
