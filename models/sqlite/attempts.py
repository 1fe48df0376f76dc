"""Claims orders (makes them Processing) and records how attempts ended, in a write transaction.

Runs on the thread that opened the transaction.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from models.order import Attempt, Order, Status
from models.sqlite import statements
from models.sqlite.transaction import RunChangedError, Transaction
from models.transactions.history import MAX_RECORDED_ATTEMPTS
from models.wire import (
    decode_attempts,
    decode_numbers,
    decode_orders,
    decode_triples,
    encode_numbers,
    encode_outcomes,
)
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.batch import first_outcomes
from models.writes.claimed_run import FIRST_CLAIM, ClaimedRun

# A constant, because reading `Status.COMPLETED` takes longer than all other work of the loops that use it.
_COMPLETED = Status.COMPLETED
OfOrder = TypeVar("OfOrder", Order, Outcome)

MIN_RUN_LENGTH = 8
"""A run is a list of attempts at orders with consecutive sequences. If the runs of a batch have at least this average
length, each run is completed by statements that select a range of sequences. If the runs are shorter, all attempts are
completed by statements that select a list of sequences."""


class _Completion(NamedTuple):
    """The statements that complete attempts. Except for the time, they have the same parameters."""

    sum_up: str
    running: str
    complete: str


_OF_RUN = _Completion(statements.SUM_UP_RUN, statements.RUNNING_IN_RUN, statements.COMPLETE_RUN)
_OF_LIST = _Completion(statements.SUM_UP, statements.RUNNING, statements.COMPLETE)


def claim(transaction: Transaction, limit: int) -> ClaimedOrders:
    """Makes due retries ready, then claims up to `limit` ready orders, oldest first.

    An order is ready if it is Pending and does not wait for a retry. Does nothing while processing is paused. If more
    than `transaction.max_made_ready` retries are due, claims no order, because the oldest order can be among the orders
    that are not ready yet. In this case, the `next_due_us` of the result is in the past, so that the caller claims
    again at once.
    """
    if transaction.is_paused:
        return ClaimedOrders([])
    if not transaction.has_pending:
        return ClaimedOrders([], transaction.next_claim_us(None))
    found, next_due_us = _next_ready(transaction, limit)
    if transaction.is_due(next_due_us):
        _execute(
            transaction,
            (statements.MAKE_READY, statements.MAKE_READY_EXCEPT),
            transaction.now_us,
            transaction.max_made_ready,
        )
        found, next_due_us = _next_ready(transaction, limit)
    if transaction.is_due(next_due_us):
        return ClaimedOrders([], next_due_us)
    claimed = decode_orders(found)
    for now_us, group in _by_own_time(transaction, claimed):
        _execute(
            transaction,
            (statements.CLAIM, statements.CLAIM_EXCEPT),
            now_us,
            group[0].sequence,
            group[-1].sequence,
        )
    transaction.blocks.claim([order.sequence for order in claimed])
    transaction.change.pending -= len(claimed)
    transaction.change.processing += len(claimed)
    return ClaimedOrders(claimed, transaction.next_claim_us(next_due_us))


def _next_ready(transaction: Transaction, limit: int) -> tuple[str, int | None]:
    """Up to `limit` ready orders, oldest first, and the due time of the next retry; None if no order waits for a retry.

    The orders are JSON, with the values that they will have after they are claimed.
    """
    found: tuple[str, int | None] = _execute(
        transaction, (statements.NEXT_READY, statements.NEXT_READY_EXCEPT), limit
    ).fetchone()
    return found


def _execute(transaction: Transaction, variants: tuple[str, str], *parameters: int) -> Any:
    """Runs one of two variants of a statement.

    If damaged orders must be skipped, runs the second variant, whose first parameter is the sequences of these orders.
    """
    usual, excluding = variants
    if not transaction.skipped:
        return transaction.database.execute_sql(usual, parameters)
    return transaction.database.execute_sql(excluding, (encode_numbers(list(transaction.skipped)), *parameters))


def claim_candidates(transaction: Transaction, limit: int) -> list[int]:
    """The sequences of the orders that `claim` would read. Reads only indexes, because the orders can be damaged."""
    skipped = encode_numbers(list(transaction.skipped))
    parameters = (skipped, limit, transaction.now_us, transaction.max_made_ready)
    [found] = transaction.database.execute_sql(statements.CLAIM_CANDIDATES, parameters).fetchone()
    return decode_numbers(found)


def try_to_claim(transaction: Transaction, sequences: Sequence[int]) -> None:
    """Claims these orders, and undoes the claim. Raises the same error as `claim` if one of the orders is damaged."""
    numbers = encode_numbers(sequences)
    with transaction.undone():
        decode_orders(transaction.database.execute_sql(statements.READ_LISTED, (numbers,)).fetchone()[0])
        transaction.database.execute_sql(statements.CLAIM_LISTED, (numbers,))


def finish(transaction: Transaction, outcomes: Sequence[Outcome], completed_runs: Sequence[ClaimedRun] = ()) -> None:
    """Records how attempts ended. An outcome changes nothing if its attempt has already ended.

    Records `completed_runs` like the outcomes of `FinishAndClaim.all_outcomes`. Ignores the outcomes of orders that are
    skipped because they are damaged.
    """
    if not transaction.trusts_runs or transaction.skipped or transaction.clock.has_steps:  # rare
        outcomes = FinishAndClaim(outcomes, 0, completed=completed_runs).all_outcomes()
        completed_runs = ()
    for run in completed_runs:
        _complete_new_run(transaction, run)
    first = first_outcomes(outcomes)
    if transaction.skipped:
        first = [outcome for outcome in first if outcome.sequence not in transaction.skipped]
    completed = [each for each in first if each.status is _COMPLETED]
    for now_us, group in _by_own_time(transaction, completed):
        runs = _runs_in(group)
        if len(runs) * MIN_RUN_LENGTH <= len(group):
            for first_sequence, last, number in runs:
                sequences = range(first_sequence, last + 1)
                _complete(transaction, _OF_RUN, sequences, now_us, first_sequence, last, number)
        else:
            _complete(transaction, _OF_LIST, [each.sequence for each in group], now_us, encode_outcomes(group))
    if len(completed) == len(first):
        return
    others = [each.with_storable_error() for each in first if each.status is not _COMPLETED]
    _record(transaction, [each for each in others if each.ending is not None])
    running = transaction.database.execute_sql(statements.RUNNING, (encode_outcomes(others),)).fetchone()[0]
    transaction.blocks.end(decode_numbers(running))
    for now_us, group in _by_own_time(transaction, [each for each in others if each.status is Status.FAILED]):
        transaction.change.failed += _leave_processing(transaction, statements.FAIL, now_us, encode_outcomes(group))
    if put_back := [each for each in others if each.status is Status.PENDING]:
        transaction.change.pending += _leave_processing(transaction, statements.MAKE_PENDING, encode_outcomes(put_back))


def _record(transaction: Transaction, outcomes: Sequence[Outcome]) -> None:
    """Adds attempts to the histories of their orders. Ignores attempts that have already ended in the database."""
    for now_us, group in _by_own_time(transaction, outcomes):
        transaction.database.execute_sql(statements.RECORD_ATTEMPTS, (now_us, encode_outcomes(group)))
    if old := [each.sequence for each in outcomes if each.claim > MAX_RECORDED_ATTEMPTS]:
        transaction.database.execute_sql(statements.DELETE_OLD_ATTEMPTS, (encode_numbers(old),))


def _by_own_time(transaction: Transaction, items: Sequence[OfOrder]) -> Iterable[tuple[int, Sequence[OfOrder]]]:
    """Groups orders or outcomes by the time that must be recorded for their changes.

    Returns pairs of a time, in microseconds, and a group. The time is the creation time of the orders plus the time
    that has really passed since then. This time differs from the wall clock time if somebody has set the wall clock in
    the meantime.
    """
    clock, now_us = transaction.clock, transaction.now_us
    if not clock.has_steps:
        return [(now_us, items)] if items else []
    ordered = sorted(items, key=lambda item: item.sequence)
    groups = groupby(ordered, lambda item: now_us + clock.step_at(item.sequence))
    return [(own_us, list(group)) for own_us, group in groups]


def _complete_new_run(transaction: Transaction, run: ClaimedRun) -> None:
    """Completes all orders of the run. Need not read them first, because they have the same creation time.

    Raises RunChangedError if one of the attempts had already ended.
    """
    now_us, sequences = transaction.now_us, run.sequences
    count = _leave_processing(transaction, statements.COMPLETE_RUN, now_us, sequences[0], sequences[-1], FIRST_CLAIM)
    if count != len(run):
        raise RunChangedError
    transaction.blocks.complete(sequences)
    transaction.change.completed += count
    transaction.change.processing_us += count * max(0, now_us - run.created_us)


def _complete(
    transaction: Transaction, texts: _Completion, sequences: Sequence[int], now_us: int, *which: int | str
) -> None:
    """Completes the attempts that `which` selects. `sequences` are the sequences of their orders."""
    execute = transaction.database.execute_sql
    count, processing_us = execute(texts.sum_up, (now_us, *which)).fetchone()
    if count < len(sequences):  # rare: some attempts have already ended
        sequences = decode_numbers(execute(texts.running, which).fetchone()[0])
    transaction.blocks.complete(sequences)
    transaction.change.completed += count
    transaction.change.processing_us += processing_us or 0
    _leave_processing(transaction, texts.complete, now_us, *which)


def _leave_processing(transaction: Transaction, statement: str, *parameters: int | str) -> int:
    """Runs a statement that ends attempts. Returns how many attempts the statement ended."""
    count: int = transaction.database.execute_sql(statement, parameters).rowcount
    transaction.change.processing -= count
    return count


def interrupted(transaction: Transaction) -> list[Attempt]:
    """The latest attempt at each order that is Processing."""
    return decode_attempts(transaction.database.execute_sql(statements.INTERRUPTED).fetchone()[0])


def blocks_with_interrupted(transaction: Transaction) -> list[tuple[int, int, int]]:
    """The columns `block`, `processing` and `processing_chunks` of each block that has Processing orders."""
    return decode_triples(transaction.database.execute_sql(statements.INTERRUPTED_BLOCKS).fetchone()[0])


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
