"""Claims orders and ends attempts in a write transaction. Runs on the thread that opened the transaction."""

from collections.abc import Sequence
from typing import Any

from models.order import Attempt, Status
from models.sqlite import statements
from models.sqlite.transaction import Transaction
from models.sqlite.wire import decode_attempts, decode_numbers, decode_orders, encode_numbers, encode_outcomes
from models.writes import ClaimedOrders, Outcome

MIN_RUN_LENGTH = 8
"""A run is a list of attempts with consecutive sequences. If runs have at least this average length, two statements
complete each run. Otherwise two statements complete all attempts."""


def claim(transaction: Transaction, limit: int) -> ClaimedOrders:
    """Makes due retries ready, then claims up to `limit` ready orders, oldest first. Does nothing during a pause.

    If more retries are due than one call makes ready, claims none, because the remaining retries can include the
    oldest order. In that case `next_due_us` is in the past.
    """
    if transaction.is_paused:
        return ClaimedOrders([])
    found, last, next_due_us = _next_ready(transaction, limit)
    if transaction.is_due(next_due_us):
        _execute(
            transaction,
            (statements.MAKE_READY, statements.MAKE_READY_EXCEPT),
            transaction.now_us,
            transaction.max_made_ready,
        )
        found, last, next_due_us = _next_ready(transaction, limit)
    if last is None or transaction.is_due(next_due_us):
        return ClaimedOrders([], next_due_us)
    _execute(transaction, (statements.CLAIM, statements.CLAIM_EXCEPT), transaction.now_us, last)
    claimed = decode_orders(found)
    transaction.change.pending -= len(claimed)
    transaction.change.processing += len(claimed)
    return ClaimedOrders(claimed, next_due_us)


def _next_ready(transaction: Transaction, limit: int) -> tuple[str, int | None, int | None]:
    """The ready orders as JSON, as claimed; the sequence of the last one; the due time of the next retry."""
    found: tuple[str, int | None, int | None] = _execute(
        transaction, (statements.NEXT_READY, statements.NEXT_READY_EXCEPT), limit
    ).fetchone()
    return found


def _execute(transaction: Transaction, variants: tuple[str, str], *parameters: int) -> Any:
    """Runs the first statement, or the second one, which excludes orders, if there are orders to skip."""
    usual, excluding = variants
    if not transaction.skipped:
        return transaction.database.execute_sql(usual, parameters)
    return transaction.database.execute_sql(excluding, (encode_numbers(list(transaction.skipped)), *parameters))


def claim_candidates(transaction: Transaction, limit: int) -> list[int]:
    """The sequences of the orders that `claim` would read. Reads only indexes."""
    skipped = encode_numbers(list(transaction.skipped))
    parameters = (skipped, limit, transaction.now_us, transaction.max_made_ready)
    [found] = transaction.database.execute_sql(statements.CLAIM_CANDIDATES, parameters).fetchone()
    return decode_numbers(found)


def try_to_claim(transaction: Transaction, sequences: Sequence[int]) -> None:
    """Claims these orders and undoes it. Raises the error that `claim` would raise for one of them."""
    numbers = encode_numbers(sequences)
    with transaction.undone():
        decode_orders(transaction.database.execute_sql(statements.READ_LISTED, (numbers,)).fetchone()[0])
        transaction.database.execute_sql(statements.CLAIM_LISTED, (numbers,))


def finish(transaction: Transaction, outcomes: Sequence[Outcome]) -> None:
    """Records how attempts ended. An outcome changes nothing if its attempt has ended, or if its order is skipped."""
    # Uses only the first outcome of each attempt, because a second one would count the attempt twice.
    first: dict[tuple[int, int], Outcome] = {}
    for outcome in outcomes:
        first.setdefault((outcome.sequence, outcome.claim), outcome)
    if transaction.skipped:
        first = {key: outcome for key, outcome in first.items() if outcome.sequence not in transaction.skipped}
    if completed := [each for each in first.values() if each.status is Status.COMPLETED]:
        runs = _runs_in(completed)
        if len(runs) * MIN_RUN_LENGTH <= len(completed):
            for run in runs:
                _complete(transaction, statements.SUM_UP_RUN, statements.COMPLETE_RUN, *run)
        else:
            _complete(transaction, statements.SUM_UP, statements.COMPLETE, encode_outcomes(completed))
    if len(completed) == len(first):
        return
    others = [each.with_storable_error() for each in first.values() if each.status is not Status.COMPLETED]
    _record(transaction, [each for each in others if each.ending is not None])
    if failed := [each for each in others if each.status is Status.FAILED]:
        transaction.change.failed += _leave_processing(
            transaction, statements.FAIL, transaction.now_us, encode_outcomes(failed)
        )
    if put_back := [each for each in others if each.status is Status.PENDING]:
        transaction.change.pending += _leave_processing(transaction, statements.MAKE_PENDING, encode_outcomes(put_back))


def _record(transaction: Transaction, outcomes: Sequence[Outcome]) -> None:
    """Adds attempts that are still running to the histories of their orders."""
    if outcomes:
        transaction.database.execute_sql(statements.RECORD_ATTEMPTS, (transaction.now_us, encode_outcomes(outcomes)))
    if old := [each.sequence for each in outcomes if each.claim > statements.MAX_RECORDED_ATTEMPTS]:
        transaction.database.execute_sql(statements.DELETE_OLD_ATTEMPTS, (encode_numbers(old),))


def _complete(transaction: Transaction, sum_up: str, complete: str, *which: int | str) -> None:
    count, processing_us = transaction.database.execute_sql(sum_up, (transaction.now_us, *which)).fetchone()
    transaction.change.completed += count
    transaction.change.processing_us += processing_us or 0
    _leave_processing(transaction, complete, transaction.now_us, *which)


def _leave_processing(transaction: Transaction, statement: str, *parameters: int | str) -> int:
    """Runs the statement. Returns how many attempts it ended: those that were still running."""
    count: int = transaction.database.execute_sql(statement, parameters).rowcount
    transaction.change.processing -= count
    return count


def interrupted(transaction: Transaction) -> list[Attempt]:
    """The latest attempt at each order that is Processing."""
    return decode_attempts(transaction.database.execute_sql(statements.INTERRUPTED).fetchone()[0])


def interrupted_sequences(transaction: Transaction) -> list[int]:
    """The sequences of the orders that are Processing. Reads only an index."""
    return decode_numbers(transaction.database.execute_sql(statements.INTERRUPTED_SEQUENCES).fetchone()[0])


def interrupted_among(transaction: Transaction, sequences: Sequence[int]) -> list[Attempt]:
    """The latest attempt at each of these orders that is Processing."""
    found = transaction.database.execute_sql(statements.INTERRUPTED_LISTED, (encode_numbers(sequences),)).fetchone()
    return decode_attempts(found[0])


def _runs_in(outcomes: Sequence[Outcome]) -> list[tuple[int, int, int]]:
    """Splits the attempts into runs: consecutive sequences with the same claim number.

    Returns (first sequence, last sequence, claim) for each run.
    """
    runs: list[tuple[int, int, int]] = []
    first = last = number = -1
    for outcome in outcomes:
        if outcome.sequence == last + 1 and outcome.claim == number:
            last += 1
            continue
        if last >= 0:
            runs.append((first, last, number))
        first = last = outcome.sequence
        number = outcome.claim
    return [*runs, (first, last, number)]
