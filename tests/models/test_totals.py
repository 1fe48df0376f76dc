"""The totals always equal a recount, whatever happens in whatever order: the store against a model in plain Python."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from models.errors import OrderConflictError
from models.order import Insertion, NewOrder, Order, Outcome, Status, Totals, Turn
from models.schema import open_database
from tests.models.samples import Clock, SteppedStore, new_order

RECOUNT = """
SELECT coalesce(sum(status = 'Pending'), 0), coalesce(sum(status = 'Processing'), 0),
    coalesce(sum(status = 'Completed'), 0), coalesce(sum(status = 'Failed'), 0), coalesce(sum(status = 'Cancelled'), 0),
    coalesce(sum(CASE status WHEN 'Completed' THEN processed_us - created_us END), 0),
    (SELECT created_us FROM orders WHERE status = 'Pending' ORDER BY sequence LIMIT 1) FROM orders"""


@dataclass
class Expected:
    order_id: int
    user_id: int
    created_us: int
    status: Status = Status.PENDING
    attempts: int = 0
    claims: int = 0
    error: str | None = None
    processed_us: int | None = None


PAIRS = st.lists(st.tuples(st.integers(1, 9), st.sampled_from([1, 1, 2])), max_size=4)
ENDS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from([0, 0, 0, 0, -1, 1]),
        st.sampled_from([Status.COMPLETED, Status.FAILED, Status.PENDING]),
        st.sampled_from([None, "no"]),
    ),
    max_size=4,
    # Two outcomes for one order have tests of their own.
    unique_by=lambda end: end[0],
)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp())
        self._database = open_database(self._folder / "orders.db")
        self._database.connect()
        # Nothing here outlives the process, and each rule is a commit.
        self._database.pragma("synchronous", 0)
        self._clock = Clock()
        self._store = SteppedStore(self._database, clock=self._clock)
        self._orders: list[Expected] = []

    def teardown(self) -> None:
        self._database.close()
        shutil.rmtree(self._folder)

    @initialize(count=st.integers(0, 4))
    def begin(self, count: int) -> None:
        self.insert([(order_id, 1) for order_id in range(1, count + 1)])

    @rule(pairs=PAIRS)
    def insert(self, pairs: list[tuple[int, int]]) -> None:
        self._check_insertions(pairs, self._store.insert(self._new_orders(pairs)))

    @rule(ends=ENDS, limit=st.integers(0, 3))
    def finish_and_claim(self, ends: list[tuple[int, int, Status, str | None]], limit: int) -> None:
        outcomes = self._outcomes(ends)
        self._check_claims(limit, self._store.finish_and_claim(outcomes, limit))

    @rule(pairs=PAIRS, ends=ENDS, limit=st.integers(0, 5), place=st.integers(0, 4))
    def do_both_at_once(
        self, pairs: list[tuple[int, int]], ends: list[tuple[int, int, Status, str | None]], limit: int, place: int
    ) -> None:
        batch: list[NewOrder | Turn] = [*self._new_orders(pairs)]
        batch.insert(place, Turn(self._outcomes(ends), limit))
        results = self._store.write(batch)
        claimed = results.pop(min(place, len(pairs)))
        self._check_insertions(pairs, results)
        self._check_claims(limit, claimed)

    def _new_orders(self, pairs: list[tuple[int, int]]) -> list[NewOrder]:
        return [new_order(order_id, user_id=user_id) for order_id, user_id in pairs]

    def _check_insertions(self, pairs: list[tuple[int, int]], results: Sequence[object]) -> None:
        for (order_id, user_id), result in zip(pairs, results, strict=True):
            known = next((order for order in self._orders if order.order_id == order_id), None)
            if known is None:
                assert result is Insertion.ACCEPTED
                self._orders.append(Expected(order_id, user_id, self._clock()))
            elif known.user_id == user_id:
                assert result is Insertion.REPLAYED
            else:
                assert isinstance(result, OrderConflictError)

    def _outcomes(self, ends: list[tuple[int, int, Status, str | None]]) -> list[Outcome]:
        outcomes = []
        for index, claims_off, status, error in ends:
            order = self._orders[index] if index < len(self._orders) else None
            outcomes.append(Outcome(index + 1, (order.claims if order else 1) + claims_off, status, error))
            if order and order.status is Status.PROCESSING and claims_off == 0:
                self._end(order, status, error)
        return outcomes

    def _check_claims(self, limit: int, claimed: object) -> None:
        waiting = [order for order in self._orders if order.status is Status.PENDING][:limit]
        for order in waiting:
            order.status = Status.PROCESSING
            order.attempts += 1
            order.claims += 1
        assert claimed == [self._as_stored(order) for order in waiting]

    def _end(self, order: Expected, status: Status, error: str | None) -> None:
        order.status = status
        order.error = error
        if status is Status.PENDING:
            order.attempts -= 1
        else:
            order.processed_us = max(self._clock(), order.created_us)

    @rule()
    def recover(self) -> None:
        interrupted = [order for order in self._orders if order.status is Status.PROCESSING]
        assert self._store.recover() == len(interrupted)
        for order in interrupted:
            order.status = Status.PENDING

    @rule(step_us=st.integers(-1_000, 5_000))
    def move_the_clock(self, step_us: int) -> None:
        self._clock.now_us += step_us

    @invariant()
    def the_store_has_what_the_model_has(self) -> None:
        found = self._store.find([order.order_id for order in self._orders])
        assert found == [self._as_stored(order) for order in self._orders]

    @invariant()
    def the_totals_equal_a_recount(self) -> None:
        assert self._store.totals() == Totals(*self._database.execute_sql(RECOUNT).fetchone())

    def _as_stored(self, order: Expected) -> Order:
        new = new_order(order.order_id, user_id=order.user_id)
        return Order(
            self._orders.index(order) + 1,
            new.order_id,
            new.user_id,
            new.item_ids,
            new.total_amount,
            new.metadata,
            order.status,
            order.attempts,
            order.claims,
            order.error,
            order.created_us,
            order.processed_us,
        )


StoreMachine.TestCase.settings = settings(
    deadline=None,
    max_examples=25,
    stateful_step_count=20,
    # A story of 20 steps can be read as it is; to find a shorter one would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
TestTheTotalsOfTheStore = StoreMachine.TestCase
