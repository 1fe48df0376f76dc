"""Ends the attempts that a crash interrupted. Runs on the writer's thread, before the first claim."""

from collections.abc import Callable, Sequence
from functools import partial

from models.errors import StorageError
from models.listing import HIGHEST
from models.order import Attempt
from models.sqlite import statements
from models.sqlite.attempts import finish, interrupted, interrupted_among, interrupted_sequences
from models.sqlite.faults import concerns_orders
from models.sqlite.parts import Budget, run_in_parts
from models.sqlite.transaction import Transaction
from models.sqlite.transactions import Transactions
from models.writes import Outcome

MAX_FAILURES, MAX_TIME_S = 1_000, 10.0
"""Limits on how often and how long the recovery is repeated in parts."""


def recover(
    transactions: Transactions,
    outcome_of: Callable[[Attempt], Outcome],
    *,
    longest_delay_us: int,
    clock: Callable[[], float],
) -> tuple[int, list[tuple[str, StorageError]]]:
    """Records `outcome_of(attempt)` for each interrupted attempt, and returns their number.

    Before that, converts the due times. An order that is due later than `longest_delay_us` from now is made due now.
    Also returns a description of what is damaged, with the error: those orders stay Processing until the next start.
    `clock` is monotonic, in seconds. Raises a StorageError that concerns the whole database.
    """

    def end(transaction: Transaction, attempts: Sequence[Attempt]) -> int:
        finish(transaction, [outcome_of(attempt) for attempt in attempts])
        return len(attempts)

    def end_part(part: Sequence[int]) -> list[int]:
        count = transactions.run(lambda transaction: end(transaction, interrupted_among(transaction, part)))
        return [1] * count + [0] * (len(part) - count)

    damaged: list[tuple[str, StorageError]] = []
    try:
        transactions.run(partial(_convert_due_times, longest_delay_us=longest_delay_us))
    except StorageError as error:
        if not concerns_orders(error):
            raise
        damaged.append(("the due times of retries", error))
    try:
        return transactions.run(lambda transaction: end(transaction, interrupted(transaction))), damaged
    except StorageError as error:
        if not concerns_orders(error):
            raise
    budget = Budget(max_failures=MAX_FAILURES, max_time_s=MAX_TIME_S, clock=clock)
    try:
        sequences = transactions.run(interrupted_sequences)
    except StorageError as error:
        # SQLITE_ERROR: a table is missing. Nothing would work.
        if not concerns_orders(error) or error.code == "SQLITE_ERROR":
            raise
        what = "the list of interrupted attempts (their orders stay Processing until the next start)"
        return 0, [*damaged, (what, error)]
    results, failed = run_in_parts(sequences, end_part, budget)
    damaged += [
        (f"the order with sequence {each} (it stays Processing until the next start)", err) for each, err in failed
    ]
    return sum(result for result in results if isinstance(result, int)), damaged


def _convert_due_times(transaction: Transaction, *, longest_delay_us: int) -> None:
    """Converts the due times from the steady time of the previous process to that of this one.

    `totals.clock_step_us` is the difference between the wall clock and the steady time of the previous process.
    """
    execute, now_us = transaction.database.execute_sql, transaction.now_us
    [step_us] = execute(statements.CLOCK_STEP).fetchone()
    if step_us:
        execute(statements.SHIFT_DUE_TIMES, (step_us,))
        execute(statements.SET_CLOCK_STEP, (0,))
    execute(statements.BRING_FORWARD, (now_us, min(now_us + longest_delay_us, HIGHEST)))
