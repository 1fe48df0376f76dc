"""Ends the attempts that a crash interrupted. Runs on the writer's thread, before the first claim."""

from collections.abc import Callable, Sequence
from functools import partial

from models.database.health import Damage
from models.errors import StorageError
from models.listing import HIGHEST
from models.order import Attempt, Status
from models.sqlite import statements
from models.sqlite.attempts import blocks_with_interrupted, finish, interrupted, interrupted_among
from models.sqlite.blocks import sequences_of_chunks
from models.sqlite.damage.faults import concerns_orders
from models.sqlite.damage.skipped import SkippedOrder
from models.sqlite.transaction import Transaction
from models.sqlite.transactions import Transactions
from models.transactions.parts import Budget, run_in_parts
from models.writes.attempts import Outcome

MAX_FAILURES, MAX_TIME_S = 1_000, 10.0
"""If the recovery is repeated in parts, it ends after this number of failed parts, or after this number of seconds."""


def _new_budget(clock: Callable[[], float]) -> Budget:
    return Budget(concerns_orders=concerns_orders, max_failures=MAX_FAILURES, max_time_s=MAX_TIME_S, clock=clock)


def recover(
    transactions: Transactions,
    outcome_of: Callable[[Attempt], Outcome],
    *,
    longest_delay_us: int,
    clock: Callable[[], float],
) -> tuple[int, list[Damage]]:
    """Records `outcome_of(attempt)` for each interrupted attempt.

    Before that, converts the due times of retries to the steady time of this process. If a retry would be due after
    more than `longest_delay_us` microseconds, it becomes due now. Returns the number of recorded outcomes, and what is
    damaged. `clock` returns monotonic seconds. Raises a StorageError only if it concerns the whole database.
    """
    damaged: list[Damage] = []
    try:
        transactions.run(partial(_convert_due_times, longest_delay_us=longest_delay_us))
    except StorageError as error:
        if not concerns_orders(error):
            raise
        damaged.append(Damage("the due times of retries", error))
    try:
        return transactions.run(lambda transaction: _end(transaction, interrupted(transaction), outcome_of)), damaged
    except StorageError as error:
        if not concerns_orders(error):
            raise
    try:
        sequences = _find_in_parts(transactions, clock)
    except StorageError as error:
        # Here, SQLITE_ERROR means that a table is missing, so the server can't work.
        if not concerns_orders(error) or error.code == "SQLITE_ERROR":
            raise
        effect = ", and its orders stay Processing until the next start"
        return 0, [*damaged, Damage("the list of interrupted attempts", error, effect)]
    count, also_damaged = _end_in_parts(transactions, sequences, outcome_of, clock)
    return count, damaged + also_damaged


def _end(transaction: Transaction, attempts: Sequence[Attempt], outcome_of: Callable[[Attempt], Outcome]) -> int:
    finish(transaction, [outcome_of(attempt) for attempt in attempts])
    return len(attempts)


def _find_in_parts(transactions: Transactions, clock: Callable[[], float]) -> list[int]:
    """The sequences of the orders that are Processing.

    If a part of a block can't be read and the rest of the block has too few Processing orders, also returns the
    sequences of the orders that can't be read.
    """

    def find(part: Sequence[int]) -> list[bool]:
        attempts = transactions.run(partial(interrupted_among, sequences=part))
        found = {attempt.sequence for attempt in attempts}
        return [sequence in found for sequence in part]

    find([])  # if the table is missing, raises an error even if no block has Processing orders
    budget = _new_budget(clock)
    sequences: list[int] = []
    for block, count, chunks in transactions.run(blocks_with_interrupted):
        candidates = sequences_of_chunks(block, chunks)
        results, _ = run_in_parts(candidates, find, budget)
        found = [sequence for sequence, result in zip(candidates, results, strict=True) if result is True]
        if len(found) < count:
            found += [
                sequence
                for sequence, result in zip(candidates, results, strict=True)
                if isinstance(result, StorageError)
            ]
        sequences += sorted(found)
    if budget.error and not concerns_orders(budget.error):
        raise budget.error
    return sequences


def _end_in_parts(
    transactions: Transactions,
    sequences: Sequence[int],
    outcome_of: Callable[[Attempt], Outcome],
    clock: Callable[[], float],
) -> tuple[int, list[Damage]]:
    """Ends the attempts at these orders. Skips damaged orders.

    After too many failures, also skips the orders that were not tried yet. Returns the number of recorded outcomes, and
    what is damaged.
    """

    def end(transaction: Transaction, part: Sequence[int]) -> int:
        return _end(transaction, interrupted_among(transaction, part), outcome_of)

    def end_part(part: Sequence[int]) -> list[int]:
        count = transactions.run(partial(end, part=part))
        return [1] * count + [0] * (len(part) - count)

    budget = _new_budget(clock)
    results, failed = run_in_parts(sequences, end_part, budget)
    if budget.error and not concerns_orders(budget.error):
        raise budget.error
    skipped = {
        sequence: SkippedOrder(sequence, Status.PROCESSING, partial(end, part=[sequence]))
        for sequence, result in zip(sequences, results, strict=True)
        if isinstance(result, StorageError)
    }
    for order in skipped.values():
        transactions.skipped.add(order)
    damaged = [skipped[sequence].damage(error) for sequence, error in failed]
    if budget.error:
        left = len(skipped) - len(failed)
        damaged.append(Damage(f"{left} more orders", budget.error, ", and stay Processing"))
    return sum(result for result in results if isinstance(result, int)), damaged


def _convert_due_times(transaction: Transaction, *, longest_delay_us: int) -> None:
    """Converts the due times from the steady time of the previous process to the steady time of this process.

    `totals.clock_step_us` is the wall clock time minus the steady time of the previous process: see `models/clock.py`.
    """
    execute, now_us = transaction.database.execute_sql, transaction.now_us
    [step_us] = execute(statements.CLOCK_STEP).fetchone()
    if step_us:
        execute(statements.SHIFT_DUE_TIMES, (step_us,))
        execute(statements.SET_CLOCK_STEP, (0,))
    execute(statements.BRING_FORWARD, (now_us, min(now_us + longest_delay_us, HIGHEST)))
