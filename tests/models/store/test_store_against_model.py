"""Random writes have the same effect on the store and on a simple model of it. The totals equal the counted orders."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from models.changes.order_changes import changes_in
from models.errors import BacklogFullError, OrderArchivedError, OrderConflictError, WrongStatusError
from models.order import ERASED_USER, Attempt, AttemptRecord, Ending, Order, Status
from models.store import Store
from models.transactions.archiving import archive_orders
from models.writes.archiving import ArchiveOrders
from models.writes.attempts import AttemptKey, ClaimedOrders, FinishAndClaim, Outcome
from models.writes.claimed_run import ClaimedRun
from models.writes.commands import (
    Cancel,
    Erase,
    OrderIds,
    RetriedOrders,
    Retry,
    RetryOrders,
    RetrySelection,
    SetPaused,
    StatusChanged,
)
from models.writes.insertion import Insertion, NewOrder, NewOrders
from models.writes.write import AnyWrite, Write
from tests.examples import examples
from tests.models.engines import Engine, check_first_sequences
from tests.models.packed import pack
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.sqlite.engine import SqliteEngine
from tests.process import wait_until


@dataclass
class Expected:
    """One order of the model."""

    sequence: int
    order_id: int
    user_id: int
    created_us: int
    status: Status = Status.PENDING
    attempts: int = 0
    claims: int = 0
    error: str | None = None
    processed_us: int | None = None
    due_us: int | None = None
    step_us: int = 0
    """The step of the wall clock when the order was stored; 0 after a restart."""
    claimed_us: int | None = None
    records: list[AttemptRecord] = field(default_factory=list)
    sent_by: int = 0
    """The user of the order as it was sent, if the order was erased."""

    def history(self) -> list[AttemptRecord]:
        if self.status is Status.PROCESSING:
            return [*self.records, AttemptRecord(self.attempts, self.claimed_us, None, None, None)]
        if self.status is not Status.COMPLETED:
            return self.records
        assert self.processed_us is not None
        assert self.claimed_us is not None
        ended_us = max(self.processed_us, self.claimed_us)
        return [*self.records, AttemptRecord(self.attempts, self.claimed_us, ended_us, Ending.COMPLETED, None)]

    def as_found(self, ahead_us: int) -> Order:
        return replace(self.as_stored(), due_us=None if self.due_us is None else self.due_us + ahead_us)

    def as_stored(self) -> Order:
        new = new_order(self.order_id, user_id=self.user_id)
        return Order(
            self.sequence,
            new.order_id,
            new.user_id,
            new.item_ids,
            new.total_amount,
            new.metadata,
            self.status,
            self.attempts,
            self.claims,
            self.error,
            self.created_us,
            self.processed_us,
            self.due_us,
        )


class Model:
    """A simple model of a store, which handles the orders of a write one by one."""

    def __init__(self, clock: Clock, *, rejects: bool) -> None:
        """`rejects`: see `Engine.rejects`."""
        self._rejects = rejects
        self.orders: list[Expected] = []
        self.archived: dict[int, Expected] = {}
        self.is_paused = False
        self.step_us = 0
        self._clock = clock

    def write(
        self, batch: Sequence[AnyWrite], max_pending: int, *, sequences: Mapping[int, int], last_sequence: int
    ) -> list[object]:
        """The results of the batch. `sequences` maps the ids of all stored orders to the sequences that they have got.

        `last_sequence` is the highest sequence that was used up before this batch.
        """
        self._max_pending = max_pending
        self._sequences = sequences
        self._last_sequence = last_sequence
        self.step_us = self._clock.ahead_us
        results: dict[int, object] = {}
        finishes = [write for write in batch if isinstance(write, FinishAndClaim)]
        rejected = self.finish([outcome for write in finishes for outcome in write.all_outcomes()])
        self._rejected = rejected if self._rejects else frozenset()
        for kind in (Cancel, Retry, RetryOrders, SetPaused, Erase, ArchiveOrders, NewOrder | NewOrders, FinishAndClaim):
            for place, write in enumerate(batch):
                if isinstance(write, kind):
                    results[place] = self._write_one(write)
        return [results[place] for place in range(len(batch))]

    def _write_one(self, write: AnyWrite) -> object:
        match write:
            case Cancel() | Retry() | Erase():
                return self._command(write)
            case ArchiveOrders(orders=orders):
                return self._archive(orders)
            case RetryOrders(selection, limit):
                return self._retry_selected(selection, limit)
            case SetPaused(is_paused):
                was, self.is_paused = self.is_paused, is_paused
                return was is not is_paused
            case NewOrder(order_id, user_id):
                return self._insert(order_id, user_id)
            case NewOrders(orders):
                return [self._insert(order.order_id, order.user_id) for order in orders]
            case FinishAndClaim(_, limit):
                claimed = self._claim(limit) if limit and not self.is_paused else ClaimedOrders([])
                return replace(claimed, rejected=self._rejected)
        raise AssertionError(f"unknown write: {write}")

    def _command(self, write: Cancel | Retry | Erase) -> object:
        if write.order_id in self.archived:
            return "archived"
        order = self.known(write.order_id)
        if isinstance(write, Cancel):
            return self._cancel(order)
        return self._retry(order) if isinstance(write, Retry) else self._erase(order)

    def known(self, order_id: int) -> Expected | None:
        return next((order for order in self.orders if order.order_id == order_id), None)

    def _with_status(self, status: Status) -> list[Expected]:
        return [order for order in self.orders if order.status is status]

    def _insert(self, order_id: int, user_id: int) -> object:
        known = self.archived.get(order_id) or self.known(order_id)
        if known is None:
            if len(self._with_status(Status.PENDING)) >= self._max_pending:
                return "full"
            self.orders.append(self._new(order_id, user_id))
            return Insertion.ACCEPTED
        return Insertion.REPLAYED if (known.sent_by or known.user_id) == user_id else "conflict"

    def _new(self, order_id: int, user_id: int) -> Expected:
        created_us = self._clock() + self.step_us
        return Expected(self._sequences[order_id], order_id, user_id, created_us, step_us=self.step_us)

    def _cancel(self, order: Expected | None) -> object:
        if order is None:
            return None
        if order.status not in (Status.PENDING, Status.CANCELLED):
            return order.status
        was, order.status, order.due_us = order.status, Status.CANCELLED, None
        return StatusChanged(order.as_stored(), was)

    def _erase(self, order: Expected | None) -> object:
        if order is None:
            return None
        if order.status in (Status.PENDING, Status.PROCESSING):
            return order.status
        order.sent_by, order.user_id, order.error = order.sent_by or order.user_id, ERASED_USER, None
        order.records = [replace(record, error=None) for record in order.records]
        return order.as_stored()

    def _archive(self, orders: Sequence[Order]) -> bool:
        ended = {each.sequence: each for each in self.orders if each.status in (Status.COMPLETED, Status.CANCELLED)}
        if any(each.sequence not in ended or ended[each.sequence].user_id != each.user_id for each in orders):
            return False
        for each in orders:
            self.archived[each.order_id] = ended[each.sequence]
            self.orders.remove(ended[each.sequence])
        return True

    def expired(self, ended_before_us: int) -> list[Order]:
        """The expired orders, without the newest order."""
        return [
            each.as_stored()
            for each in self.orders[:-1]
            if each.status in (Status.COMPLETED, Status.CANCELLED)
            and (each.created_us if each.processed_us is None else each.processed_us) < ended_before_us
        ]

    def _retry(self, order: Expected | None) -> object:
        if order is None:
            return None
        was = order.status
        if was is Status.FAILED and order.user_id != ERASED_USER:
            order.status, order.attempts, order.error, order.processed_us = Status.PENDING, 0, None, None
        elif was is Status.PENDING and order.due_us is not None:
            order.due_us = None
        else:
            return order.status
        return StatusChanged(order.as_stored(), was)

    def _retry_selected(self, selection: RetrySelection, limit: int) -> RetriedOrders:
        last = self._last_sequence if selection.last is None else selection.last
        examined = [
            each
            for each in self._with_status(selection.status)
            if selection.after < each.sequence <= last and (each.status is Status.FAILED or each.due_us is not None)
        ][:limit]
        selected = [
            each
            for each in examined
            if each.user_id != ERASED_USER and (selection.error is None or selection.error in (each.error or ""))
        ]
        for each in selected:
            self._retry(each)
        return RetriedOrders(
            [OrderIds(each.sequence, each.order_id, each.user_id) for each in selected],
            replace(selection, after=examined[-1].sequence, last=last) if len(examined) == limit else None,
        )

    def _claim(self, limit: int) -> ClaimedOrders:
        pending = self._with_status(Status.PENDING)
        due = [order for order in pending if order.due_us is not None and order.due_us <= self._clock()]
        due.sort(key=lambda order: (order.due_us, order.sequence))
        for order in due[:MAX_MADE_READY]:
            order.due_us = None
        # No order is claimed while due orders are not ready, because one of these can be older.
        left = 0 if len(due) > MAX_MADE_READY else limit
        claimed = [order for order in pending if order.due_us is None][:left]
        for order in claimed:
            order.status = Status.PROCESSING
            order.attempts += 1
            order.claims += 1
            order.claimed_us = self._clock() + order.step_us
        return ClaimedOrders(
            [order.as_stored() for order in claimed],
            min((order.due_us for order in pending if order.due_us is not None), default=None),
        )

    def finish(self, outcomes: Sequence[Outcome]) -> frozenset[AttemptKey]:
        """Ends attempts. Returns the attempts whose outcomes are rejected, because the attempts ended otherwise."""
        by_sequence = {order.sequence: order for order in self.orders}
        left: dict[AttemptKey, Outcome] = {}
        ended = set()
        for outcome in outcomes:
            key = outcome.sequence, outcome.claim
            order = by_sequence.get(outcome.sequence)
            if order and (order.status, order.claims) == (Status.PROCESSING, outcome.claim):
                self._end(order, outcome)
                ended.add(key)
            elif key not in ended:
                left.setdefault(key, outcome)
        return frozenset(key for key, outcome in left.items() if not _is_same_end(by_sequence.get(key[0]), outcome))

    def _end(self, order: Expected, outcome: Outcome) -> None:
        if outcome.ending is not None and outcome.status is not Status.COMPLETED:
            assert order.claimed_us is not None
            ended_us = max(self._clock() + order.step_us, order.claimed_us)
            order.records.append(
                AttemptRecord(order.attempts, order.claimed_us, ended_us, outcome.ending, outcome.error)
            )
        order.status = outcome.status
        if outcome.status is not Status.PENDING:
            order.error = outcome.error if outcome.status is Status.FAILED else None
            order.processed_us = max(self._clock() + order.step_us, order.created_us)
        elif outcome.due_us is None:
            order.attempts -= 1
        else:
            order.error, order.due_us = outcome.error, outcome.due_us
            order.attempts -= not outcome.counts

    def restart(self, clock: Clock, step_us: int) -> None:
        """A new process, with a new clock, opens the store. The process knows of the step `step_us` of the wall
        clock."""
        self._clock = clock
        for order in self.orders:
            order.step_us = 0
            if order.due_us is not None:
                order.due_us += step_us
                if order.due_us > clock() + LONGEST_DELAY_US:
                    order.due_us = clock()
        self.step_us = 0

    def oldest_pending_us(self) -> int | None:
        pending = self._with_status(Status.PENDING)
        ready = [order for order in pending if order.due_us is None]
        due = sorted((order.due_us, order.sequence, order) for order in pending if order.due_us is not None)
        candidates = ready[:1] + [order for due_us, _, order in due[:1] if due_us <= self._clock()]
        oldest = min(candidates, key=attrgetter("sequence"), default=None)
        return None if oldest is None else oldest.created_us - oldest.step_us

    def running(self) -> list[Expected]:
        return self._with_status(Status.PROCESSING)

    def interrupted(self) -> list[Attempt]:
        return [Attempt(order.sequence, order.claims, order.attempts) for order in self.running()]

    def statuses(self) -> dict[int, Status]:
        return {order.order_id: order.status for order in self.orders}


def _is_same_end(order: Expected | None, outcome: Outcome) -> bool:
    if order is None or (outcome.status is Status.PENDING and outcome.due_us is None):
        return False
    return (order.claims, order.status, order.error) == (outcome.claim, outcome.status, outcome.error)


def _plain(result: object) -> object:
    match result:
        case OrderConflictError():
            return "conflict"
        case BacklogFullError():
            return "full"
        case WrongStatusError():
            return result.status
        case OrderArchivedError():
            return "archived"
        case list():
            return [_plain(each) for each in result]
        case ClaimedOrders():
            return replace(result, orders=list(result.orders))
        case _:
            return result


IDS = st.integers(1, 9)
MAX_MADE_READY = 3
LONGEST_DELAY_US = 60 * SECOND_US
# The place of the order, the claim minus the latest claim, the status, the error, the delay in seconds, the ending, and
# whether the attempt counts.
OUTCOMES = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.sampled_from([0, 0, 0, 0, -1, 1]),
        st.sampled_from([Status.COMPLETED, Status.FAILED, Status.PENDING]),
        st.sampled_from([None, "no"]),
        st.sampled_from([None, -1, 0, 1, 2]),
        st.sampled_from([None, Ending.FAILED, Ending.STOPPED]),
        st.booleans(),
    ),
    max_size=4,
)
RUNS = st.integers(-3, -1)
"""Places in the list of all runs that have been claimed."""
UNUSED = 1_000_000
"""More than the number of orders of a batch."""
NEW_ORDERS = st.builds(new_order, IDS, user_id=st.sampled_from([1, 1, 2]))
SELECTIONS = st.builds(
    RetrySelection,
    status=st.sampled_from([Status.FAILED, Status.PENDING]),
    error=st.sampled_from([None, None, "o", "x"]),
    after=st.integers(0, 5),
    last=st.sampled_from([None, 4, 9]),
)
WRITES = st.lists(
    st.one_of(
        NEW_ORDERS,
        st.builds(NewOrders, st.lists(NEW_ORDERS, min_size=1, max_size=4)),
        st.builds(lambda orders: NewOrders(pack(*orders)), st.lists(NEW_ORDERS, min_size=1, max_size=4)),
        st.builds(Cancel, IDS),
        st.builds(Retry, IDS),
        st.builds(Erase, IDS),
        st.builds(RetryOrders, SELECTIONS, st.integers(1, 3)),
        st.builds(SetPaused, st.sampled_from([True, False, False])),
        st.tuples(OUTCOMES, st.integers(0, 5), st.sets(RUNS, max_size=2)),
        st.tuples(OUTCOMES, st.integers(0, 5), st.sets(RUNS, max_size=2)),
    ),
    max_size=6,
)


def _with_orders(write: FinishAndClaim, running: dict[tuple[int, int], Expected]) -> FinishAndClaim:
    """Adds the attempted orders to the write. Leaves out attempts that have already ended, even in this batch."""
    attempted = [running.pop((each.sequence, each.claim), None) for each in write.outcomes]
    orders = [order.as_stored() for order in attempted if order]
    return FinishAndClaim(write.outcomes, write.limit, orders, completed=write.completed)


def _is_each_running(write: FinishAndClaim, running: dict[tuple[int, int], Expected]) -> bool:
    """Whether all attempts of the write are running, as in a write of the dispatcher. Removes them from `running`."""
    runs = [running.pop((sequence, 1), None) for run in write.completed for sequence in run.sequences]
    return len(write.attempted) == len(write.outcomes) and None not in runs


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp())
        self._engine = self._new_engine(self._folder)
        self._clock = Clock()
        self._store: Store = self._engine.open(self._clock, max_made_ready=MAX_MADE_READY)
        self._model = Model(self._clock, rejects=self._engine.rejects)
        self._runs: list[ClaimedRun] = []

    def _new_engine(self, folder: Path) -> Engine:
        # Without syncs the test is faster, because each rule is a commit. The files are deleted at the end.
        return SqliteEngine(folder / "orders.db", has_syncs=False)

    def teardown(self) -> None:
        self._engine.close()
        shutil.rmtree(self._folder)

    @initialize(count=st.integers(0, 6), limit=st.integers(0, 6))
    def begin(self, count: int, limit: int) -> None:
        self._write([new_order(order_id) for order_id in range(1, count + 1)])
        self._write([FinishAndClaim([], limit)])

    @rule(writes=WRITES, max_pending=st.sampled_from([9, 9, 9, 3, 5]))
    def write(self, writes: list[Any], max_pending: int) -> None:
        self._write([self._with_sequences(write) for write in writes], max_pending)

    @rule(writes=WRITES, limit=st.integers(1, 3), age_us=st.sampled_from([-SECOND_US, 0, SECOND_US]))
    def archive(self, writes: list[Any], limit: int, age_us: int) -> None:
        ended_before_us = self._clock.wall_time() - age_us
        expired = self._store.find_expired(ended_before_us=ended_before_us, after=0, limit=limit)
        assert expired.orders == self._model.expired(ended_before_us)[:limit]
        batch = [self._with_sequences(write) for write in writes]
        wait_until(self._store.may_archive)
        self._write([archive_orders(expired.orders), *batch] if expired.orders else batch)

    def _with_sequences(self, write: Any) -> AnyWrite:
        """The write that was drawn, with sequences instead of places of orders (1 is the first order)."""
        if isinstance(write, tuple):
            runs = [self._runs[place] for place in write[2] if -place <= len(self._runs)]
            return FinishAndClaim(self._outcomes(write[0]), write[1], completed=runs)
        if isinstance(write, RetryOrders):
            after, last = write.selection.after, write.selection.last
            after = self._sequence(after) if after else 0
            last = None if last is None else self._sequence(last)
            return RetryOrders(replace(write.selection, after=after, last=last), write.limit)
        assert isinstance(write, Write)
        return write

    def _sequence(self, place: int) -> int:
        """The sequence of the order at this place, or a sequence that no order gets, not even one of the same batch."""
        orders = self._model.orders
        return orders[place - 1].sequence if place <= len(orders) else self._engine.last_sequence() + UNUSED + place

    def _outcomes(
        self, drawn: list[tuple[int, int, Status, str | None, int | None, Ending | None, bool]]
    ) -> list[Outcome]:
        outcomes = []
        for place, claims_off, status, error, due_s, ending, counts in drawn:
            claims = self._model.orders[place - 1].claims if place <= len(self._model.orders) else 1
            due_us = None if due_s is None or status is not Status.PENDING else self._clock() + due_s * SECOND_US
            outcomes.append(Outcome(self._sequence(place), claims + claims_off, status, error, due_us, ending, counts))
        return outcomes

    def _write(self, batch: list[AnyWrite], max_pending: int = 9) -> None:
        before = self._model.statuses()
        running = {(order.sequence, order.claims): order for order in self._model.running()}
        batch = [_with_orders(write, running) if isinstance(write, FinishAndClaim) else write for write in batch]
        last_sequence = self._engine.last_sequence()
        results = self._store.write(batch, max_pending=max_pending)
        claims = [result.orders for result in results if isinstance(result, ClaimedOrders)]
        self._runs += [orders for orders in claims if isinstance(orders, ClaimedRun)]
        assert [_plain(result) for result in results] == self._model.write(
            batch, max_pending, sequences=self._stored_sequences(), last_sequence=last_sequence
        )
        # `changes_in` requires that all attempts are running.
        if all(_is_each_running(write, running) for write in batch if isinstance(write, FinishAndClaim)):
            after = self._model.statuses()
            changes = changes_in(batch, results)
            changed = {each.order_id: each.status for each in changes if each.order_id not in self._model.archived}
            assert changed.items() <= after.items()
            assert after.items() - before.items() <= changed.items()

    def _stored_sequences(self) -> dict[int, int]:
        found = self._store.find(list(range(1, 10)))
        return {order.order_id: order.sequence for order in found if isinstance(order, Order)}

    @rule(last=st.integers(1, 3), delay_s=st.integers(-1, 2))
    def recover(self, last: int, delay_s: int) -> None:
        def outcome_of(attempt: Attempt) -> Outcome:
            if attempt.number >= last:
                return Outcome(attempt.sequence, attempt.claim, Status.FAILED, "interrupted")
            due_us = self._clock() + delay_s * SECOND_US
            return Outcome(attempt.sequence, attempt.claim, Status.PENDING, "interrupted", due_us)

        interrupted = self._model.interrupted()
        # A SQLite file contains the step as of the last commit. PostgreSQL has a clock of its own.
        step_us = self._clock.ahead_us if self._engine.has_clock else self._model.step_us
        self._clock = Clock(self._clock.wall_time())
        self._model.restart(self._clock, step_us)
        self._store = self._engine.open(self._clock, max_made_ready=MAX_MADE_READY)
        assert self._store.recover(outcome_of, longest_delay_us=LONGEST_DELAY_US) == len(interrupted)
        self._model.finish([outcome_of(attempt) for attempt in interrupted])

    @rule(step_us=st.sampled_from([-1_000, 1, 5_000, SECOND_US, SECOND_US, 2 * SECOND_US]))
    def move_the_clock(self, step_us: int) -> None:
        self._clock.now_us += step_us

    @rule(ahead_us=st.sampled_from([0, -3_600 * SECOND_US, 3_600 * SECOND_US, 86_400 * SECOND_US]))
    def set_the_wall_clock(self, ahead_us: int) -> None:
        self._clock.ahead_us = ahead_us

    @invariant()
    def the_orders_equal_those_of_the_model(self) -> None:
        orders = self._model.orders
        found = self._store.find([order.order_id for order in orders])
        assert found == [order.as_found(self._clock.ahead_us) for order in orders]
        assert [self._store.history(order.order_id) for order in orders] == [order.history() for order in orders]
        archived = self._model.archived
        assert [_plain(result) for result in self._store.find(list(archived))] == ["archived"] * len(archived)
        check_first_sequences(self._engine, sorted(order.sequence for order in (*orders, *archived.values())))

    @invariant()
    def the_totals_equal_a_recount(self) -> None:
        totals = self._store.totals()
        stored = self._engine.recount()
        ends_us = [
            order.processed_us - order.created_us
            for order in self._model.archived.values()
            if order.processed_us is not None
        ]
        assert totals == replace(
            stored,
            oldest_pending_us=self._model.oldest_pending_us(),
            completed=stored.completed + len(ends_us),
            cancelled=stored.cancelled + len(self._model.archived) - len(ends_us),
            processing_us=stored.processing_us + sum(ends_us),
            archived=len(self._model.archived),
        )
        assert self._store.is_paused == totals.is_paused == self._model.is_paused

    @invariant()
    def the_tables_agree(self) -> None:
        self._engine.check()


class PostgresqlStoreMachine(StoreMachine):
    def _new_engine(self, folder: Path) -> Engine:
        # Imported only here, because the test on SQLite does not need psycopg.
        from tests.models.postgresql.engine import PostgresqlEngine

        return PostgresqlEngine()


StoreMachine.TestCase.settings = PostgresqlStoreMachine.TestCase.settings = settings(
    max_examples=examples(50),
    stateful_step_count=20,
    # No shrinking: it would take minutes, and 20 steps are readable.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
TestTheStoreAgainstAModel = StoreMachine.TestCase
TestThePostgresqlStoreAgainstAModel = pytest.mark.slow(pytest.mark.postgresql(PostgresqlStoreMachine.TestCase))
