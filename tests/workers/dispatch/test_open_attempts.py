"""Results that are reported on other threads, and the outcomes that follow."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from models.order import Ending, Order, Status
from models.writes.attempts import Outcome
from models.writes.claimed_run import ClaimedRun
from tests.models.samples import Clock, claimed_order, new_order
from tests.workers.event_loop import next_loop_iteration
from tests.workers.recording_observer import RecordingObserver
from workers.backoff import Backoff
from workers.dispatch.failure_log import FailureLog
from workers.dispatch.open_attempts import OpenAttempts
from workers.dispatch.retries import RetryPolicy
from workers.processors.outcomes import NoResultError, NotSentError, Rejected
from workers.processors.processor import AttemptReports


class ScriptedRunner:
    """Makes no attempts: the test reports results. `waiting` are the orders whose attempts have not begun."""

    capacity = 10
    in_time = 0

    def __init__(self) -> None:
        self.overdue = 0
        self.takes_runs = False
        self.waiting: list[Order] = []
        self.error: RuntimeError | None = None

    def open(self, reports: AttemptReports) -> None:
        self.reports = reports

    def start(self, orders: Sequence[Order]) -> None:
        self.waiting += orders
        if self.error:
            raise self.error

    def withdraw(self) -> Sequence[Order]:
        waiting, self.waiting = self.waiting, []
        return waiting

    def close(self) -> None:
        pass

    def close_in_child(self) -> None:
        pass


class CountingEvent(asyncio.Event):
    """Counts how often it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def set(self) -> None:
        self.times += 1
        super().set()


class Attempts:
    """Open attempts at the orders 1 to `count`, which a scripted runner makes."""

    def __init__(self, count: int) -> None:
        self.runner, self.observer, self.changed = ScriptedRunner(), RecordingObserver(), CountingEvent()
        self.open = OpenAttempts(
            runner=self.runner,
            retry_policy=RetryPolicy(max_attempts=3, backoff=Backoff(first_s=1, max_s=1), clock=Clock(0)),
            failures=FailureLog(clock=lambda: 0.0),
            observer=self.observer,
            changed=self.changed,
        )
        self.orders = [claimed_order(new_order(order_id), order_id, 0) for order_id in range(1, count + 1)]
        self.open.start(self.orders)

    @property
    def outcomes(self) -> Sequence[Outcome]:
        return self.open.as_write(0).outcomes

    def complete_on_a_thread(self, order: Order) -> None:
        """Reports the order on a thread of its own, and returns when that is done."""
        thread = threading.Thread(target=self.runner.reports.completed, args=((order,), 0.5))
        thread.start()
        thread.join()


def completed(*orders: Order) -> list[Outcome]:
    return [Outcome(order.sequence, order.claims, Status.COMPLETED) for order in orders]


@pytest.mark.gen_test
async def test_results_of_several_threads_wake_the_event_loop_once() -> None:
    attempts = Attempts(5)
    # The event loop runs nothing meanwhile.
    for order in attempts.orders:
        attempts.complete_on_a_thread(order)
    assert (attempts.open.running, attempts.changed.times) == (5, 0)
    await attempts.changed.wait()
    for _ in range(3):
        await next_loop_iteration()
    assert (attempts.open.running, attempts.changed.times) == (0, 1)
    assert attempts.outcomes == completed(*attempts.orders)
    assert attempts.observer.attempts == [1] * 5


@pytest.mark.gen_test
async def test_results_can_be_collected_later_without_waking_the_event_loop() -> None:
    attempts = Attempts(3)
    with attempts.open.collected_at_end():
        for order in attempts.orders[:2]:
            attempts.complete_on_a_thread(order)
        for _ in range(3):
            await next_loop_iteration()
        assert (attempts.open.running, attempts.changed.times) == (3, 0)
    assert (attempts.open.running, attempts.changed.times) == (1, 1)
    with attempts.open.collected_at_end():
        pass
    assert attempts.changed.times == 1
    attempts.complete_on_a_thread(attempts.orders[2])
    await attempts.changed.wait()
    for _ in range(3):
        await next_loop_iteration()
    assert attempts.outcomes == completed(*attempts.orders)


@pytest.mark.gen_test
async def test_results_that_are_reported_after_a_wake_up_wake_the_event_loop_again() -> None:
    attempts = Attempts(2)
    for times, order in enumerate(attempts.orders, 1):
        attempts.complete_on_a_thread(order)
        await attempts.changed.wait()
        attempts.changed.clear()
        assert (attempts.open.ended, attempts.changed.times) == (times, times)


@pytest.mark.gen_test
async def test_several_orders_can_be_reported_at_once() -> None:
    attempts = Attempts(3)
    attempts.runner.reports.completed(attempts.orders, 0.5)
    await attempts.changed.wait()
    assert attempts.outcomes == completed(*attempts.orders)
    assert attempts.observer.attempts == [3]


@pytest.mark.gen_test
async def test_the_first_result_of_an_attempt_counts(caplog: pytest.LogCaptureFixture) -> None:
    attempts = Attempts(1)
    [order] = attempts.orders
    attempts.runner.reports.failed(order, NoResultError(1), 1.0)
    await attempts.changed.wait()
    attempts.runner.reports.completed([order], 2.0)
    attempts.runner.reports.failed(order, Rejected("too late"), 2.0)
    await next_loop_iteration()
    [outcome] = attempts.outcomes
    assert (outcome.status, outcome.error, outcome.ending) == (Status.PENDING, "no result within 1 s", Ending.TIMED_OUT)
    assert attempts.observer.attempts == [1]
    [line] = caplog.messages
    assert line.endswith("attempt 1 failed, it will be retried: no result within 1 s")


@pytest.mark.gen_test
async def test_a_late_result_does_not_end_the_next_attempt_at_the_order() -> None:
    attempts = Attempts(1)
    [first] = attempts.orders
    attempts.runner.withdraw()
    assert attempts.open.abandon() == 1
    second = claimed_order(new_order(1), 1, 0)
    attempts.open.start([second])
    attempts.runner.reports.completed([first], 0.5)
    await next_loop_iteration()
    assert (attempts.open.running, attempts.open.ended) == (1, 1)


@pytest.mark.gen_test
async def test_an_order_that_was_not_sent_is_ready_again_and_not_measured(caplog: pytest.LogCaptureFixture) -> None:
    attempts = Attempts(1)
    attempts.runner.reports.failed(attempts.orders[0], NotSentError(), 0.0)
    await attempts.changed.wait()
    assert attempts.outcomes == [Outcome(1, 1, Status.PENDING, counts=False)]
    assert (attempts.observer.attempts, caplog.messages) == ([], [])


@pytest.mark.gen_test
async def test_orders_whose_attempts_have_not_begun_are_put_back() -> None:
    attempts = Attempts(3)
    begun = attempts.runner.waiting.pop(0)
    attempts.open.withdraw()
    assert attempts.outcomes == [Outcome(2, 1, Status.PENDING), Outcome(3, 1, Status.PENDING)]
    attempts.runner.reports.completed([begun], 0.5)
    await next_loop_iteration()
    assert attempts.outcomes[2:] == completed(begun)


@pytest.mark.gen_test
async def test_a_stop_abandons_attempts_that_run_and_counts_overdue_ones() -> None:
    attempts = Attempts(2)
    attempts.runner.waiting.pop(0)
    attempts.runner.overdue = 3
    assert attempts.open.abandon() == 1 + 3
    assert attempts.outcomes == [
        Outcome(2, 1, Status.PENDING),
        Outcome(1, 1, Status.PENDING, ending=Ending.STOPPED),
    ]


@pytest.mark.gen_test
async def test_orders_are_put_back_if_no_thread_can_be_started() -> None:
    attempts = Attempts(0)
    attempts.runner.error = RuntimeError("can't start new thread")
    order = claimed_order(new_order(1), 1, 0)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        attempts.open.start([order])
    assert (attempts.open.running, attempts.outcomes) == (0, [Outcome(1, 1, Status.PENDING)])


@pytest.mark.gen_test
async def test_a_run_is_completed_as_a_whole_if_the_runner_takes_runs() -> None:
    attempts = Attempts(0)
    attempts.runner.takes_runs = True
    runs = [ClaimedRun([new_order(first), new_order(first + 1)], first, 0) for first in (1, 3, 5)]
    for run in runs:
        attempts.open.start(run)
    for run in runs[:2]:
        attempts.runner.reports.completed(run, 0.5)
        attempts.runner.reports.completed(run, 0.5)  # only the first result counts
    await attempts.changed.wait()
    assert (attempts.open.running, attempts.open.ended, attempts.observer.attempts) == (2, 4, [2, 2])
    write = attempts.open.as_write(7)
    assert (write.outcomes, write.completed) == ([], runs[:2])
    assert write.all_outcomes() == completed(*runs[0], *runs[1])
    attempts.open.remove_recorded(write)
    assert (attempts.open.ended, attempts.open.as_write(0).has_outcomes) == (0, False)
    attempts.runner.waiting.clear()
    assert attempts.open.abandon() == 2
    assert attempts.outcomes == [Outcome(order, 1, Status.PENDING, ending=Ending.STOPPED) for order in (5, 6)]
    attempts.runner.reports.completed(runs[2], 0.5)
    await next_loop_iteration()
    assert (attempts.open.running, attempts.open.ended) == (0, 2)


@pytest.mark.gen_test
async def test_a_run_becomes_single_orders_if_the_runner_does_not_take_runs() -> None:
    attempts = Attempts(0)
    attempts.open.start(ClaimedRun([new_order(1), new_order(2)], 1, 0))
    first, second = attempts.runner.waiting
    attempts.complete_on_a_thread(second)
    await attempts.changed.wait()
    assert (attempts.open.running, attempts.outcomes) == (1, completed(second))
    attempts.complete_on_a_thread(first)


@pytest.mark.gen_test
async def test_a_result_after_the_end_of_the_event_loop_is_ignored() -> None:
    """A thread of an abandoned attempt reports at any time."""
    made: list[Attempts] = []

    async def make() -> None:
        made.append(Attempts(2))

    thread = threading.Thread(target=lambda: asyncio.run(make()))
    thread.start()
    thread.join()
    [attempts] = made
    for order in attempts.orders:
        attempts.runner.reports.completed([order], 0.5)
    assert attempts.open.ended == 0
