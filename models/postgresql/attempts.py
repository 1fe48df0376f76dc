"""Claims orders (makes them Processing) and records how attempts ended, in a write transaction.

Runs on the thread that opened the transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from models.order import Order, Status
from models.postgresql import statements
from models.postgresql.connection.pipeline import Result
from models.postgresql.transaction import Transaction, array, one_row
from models.transactions.history import MAX_RECORDED_ATTEMPTS
from models.wire import decode_numbers, decode_orders, decode_states, encode_outcomes
from models.writes.attempts import AttemptKey, ClaimedOrders, Outcome
from models.writes.batch import first_outcomes


def finish(
    transaction: Transaction, outcomes: Sequence[Outcome], *, node: int | None = None
) -> Callable[[], frozenset[AttemptKey]]:
    """Records how attempts ended. An outcome changes nothing if its attempt has already ended.

    `node` is the server that made the attempts; None is this server. Returns a function that must be called when the
    results of the statements are needed. This function adds the results to the changes of the totals, and returns the
    attempts whose outcomes are rejected because another server has taken the order over.
    """
    parameters = {"node": transaction.node if node is None else node, **transaction.own_time}
    completions: list[tuple[Result, list[Outcome]]] = []
    ends: list[tuple[Result, list[Outcome]]] = []
    for group in _with_different_sequences(first_outcomes(outcomes)):
        if completed := [each for each in group if each.status is Status.COMPLETED]:
            result = transaction.execute(statements.COMPLETE, **_keys(completed), **parameters)
            completions.append((result, completed))
        if others := [each for each in group if each.status is not Status.COMPLETED]:
            ends.append((_end(transaction, others, parameters), others))

    def add_results() -> frozenset[AttemptKey]:
        change = transaction.change
        left: list[Outcome] = []
        for result, group in completions:
            count, processing_us, if_not_all = one_row(result)
            change.completed += count
            change.processing -= count
            change.processing_us += processing_us
            left += _left_out(group, if_not_all)
        for result, group in ends:
            failed, pending, if_not_all = one_row(result)
            change.failed += failed
            change.pending += pending
            change.processing -= failed + pending
            left += _left_out(group, if_not_all)
        return _rejected(transaction, left) if left else frozenset()

    return add_results


def _left_out(outcomes: Sequence[Outcome], recorded: str | None) -> Sequence[Outcome]:
    """The outcomes that a statement has not recorded. `recorded` lists the recorded sequences; None means all."""
    if recorded is None:
        return ()
    sequences = set(decode_numbers(recorded))
    return [each for each in outcomes if each.sequence not in sequences]


def _rejected(transaction: Transaction, outcomes: Sequence[Outcome]) -> frozenset[AttemptKey]:
    """The attempts that the database has with another outcome. Must be called before orders are claimed again.

    An earlier transaction has recorded the outcomes of the other attempts.
    """
    [found] = one_row(transaction.execute(statements.STATES, sequences=array({each.sequence for each in outcomes})))
    states = {sequence: state for sequence, *state in decode_states(found)}
    rejected = frozenset(
        (each.sequence, each.claim) for each in outcomes if not _has_ended_so(each, states.get(each.sequence))
    )
    transaction.note_recorded_before({(each.sequence, each.claim) for each in outcomes} - rejected)
    return rejected


def _has_ended_so(outcome: Outcome, state: Sequence[object] | None) -> bool:
    """Whether an order has the claims, the status and the error that this outcome sets.

    Then the outcome was recorded by an earlier commit whose result was not known.
    """
    if outcome.status is Status.PENDING and outcome.due_us is None:
        return False  # looks like a takeover, because the order keeps its error
    return state == [outcome.claim, outcome.status, outcome.with_storable_error().error]


def _end(transaction: Transaction, outcomes: Sequence[Outcome], parameters: Mapping[str, object]) -> Result:
    """Records outcomes of attempts that did not complete their order."""
    transaction.note_ready(each.sequence for each in outcomes if each.status is Status.PENDING and each.due_us is None)
    storable = [transaction.database_time.with_database_due_time(each.with_storable_error()) for each in outcomes]
    result = transaction.execute(statements.END, outcomes=encode_outcomes(storable), **_keys(outcomes), **parameters)
    if old := [each.sequence for each in outcomes if each.ending and each.claim > MAX_RECORDED_ATTEMPTS]:
        transaction.execute(statements.DELETE_OLD_ATTEMPTS, sequences=array(old))
    return result


def _keys(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The parameters that find the rows of these attempts."""
    return {
        "sequences": array(each.sequence for each in outcomes),
        "claims": array(each.claim for each in outcomes),
    }


def _with_different_sequences(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """The outcomes in groups in which each sequence occurs once, sorted by sequence. Nearly always one group."""
    groups: list[dict[int, Outcome]] = []
    for outcome in outcomes:
        for group in groups:
            if outcome.sequence not in group:
                group[outcome.sequence] = outcome
                break
        else:
            groups.append({outcome.sequence: outcome})
    return [sorted(group.values(), key=attrgetter("sequence")) for group in groups]


def claim(transaction: Transaction, limit: int) -> ClaimedOrders:
    """Makes due retries ready, then claims up to `limit` ready orders, oldest first.

    An order is ready if it is Pending and does not wait for a retry. Does nothing while processing is paused. If more
    than `transaction.max_made_ready` retries are due, claims no order, because the oldest order can be among the orders
    that are not ready yet. In this case, the `next_due_us` of the result is in the past, so that the caller claims
    again at once.
    """
    found = _claim(transaction, limit)
    transaction.is_paused = found.is_paused
    if found.is_paused:
        return ClaimedOrders([])
    if transaction.is_due(found.next_due_us):
        count, lowest = one_row(
            transaction.execute(
                statements.MAKE_READY, database_us=transaction.database_us, limit=transaction.max_made_ready
            )
        )
        if count:
            transaction.note_ready([lowest])
        # If this server has made none ready, another server is making them ready.
        found = _claim(transaction, limit, even_if_due=not count)
    claimed = found.orders
    if len(claimed) == limit:
        transaction.floor = claimed[-1].sequence + 1
    elif not transaction.is_due(found.next_due_us):
        transaction.floor = found.last_sequence + 1
    transaction.claimed += claimed
    transaction.change.pending -= len(claimed)
    transaction.change.processing += len(claimed)
    return ClaimedOrders(claimed, transaction.next_claim_us(found.next_due_us))


class _Claimed(NamedTuple):
    """The result of CLAIM. `last_sequence` is the highest sequence of all orders."""

    orders: list[Order]
    next_due_us: int | None
    is_paused: bool
    last_sequence: int


def _claim(transaction: Transaction, limit: int, *, even_if_due: bool = False) -> _Claimed:
    """Claims up to `limit` ready orders, oldest first. Claims none if a retry is due, unless `even_if_due` is true."""
    orders, *others = one_row(
        transaction.execute(
            statements.CLAIM,
            node=transaction.node,
            limit=limit,
            floor=transaction.floor,
            database_us=transaction.database_us,
            even_if_due=even_if_due,
            **transaction.own_time,
        )
    )
    return _Claimed(decode_orders(orders), *others)
