"""The log lines of failed attempts, with a clock that the test sets."""

import logging
import threading

import pytest

from models.order import Order, Status
from models.trace_headers import trace_headers_in
from models.writes.attempts import Outcome
from workers.dispatch.failure_log import MAX_FRAMES, MIN_INTERVAL_S, FailureLog
from workers.error_text import text_of
from workers.processors.outcomes import NotDeliveredError, Rejected, RetryLater

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Watch:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def failures(watch: Watch, caplog: pytest.LogCaptureFixture) -> FailureLog:
    caplog.set_level(logging.DEBUG)
    return FailureLog(clock=watch)


def note(
    failures: FailureLog,
    order_id: int = 7,
    *,
    attempts: int = 1,
    status: Status = Status.PENDING,
    error: BaseException | None = None,
    text: str = "it broke",
    trace_headers: str | None = None,
) -> None:
    order = Order(
        1, order_id, 3, [1], 1, None, Status.PROCESSING, attempts, attempts + 5, None, 0, None, None, trace_headers
    )
    outcome = Outcome(1, attempts + 5, status, text, 0 if status is Status.PENDING else None)
    failures.note(order, outcome, error or NotDeliveredError("it broke"))


def test_a_failed_attempt_is_logged_with_order_attempt_and_error(
    failures: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    note(failures, 7, attempts=3)
    assert caplog.messages == ["order 7: attempt 3 failed, it will be retried: it broke"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("headers", "more"),
    [(None, {}), ({"traceparent": TRACEPARENT}, {}), ({"x-request-id": "mine"}, {"request_id": "mine"})],
)
def test_order_user_attempt_and_request_are_fields_of_the_line(
    failures: FailureLog, caplog: pytest.LogCaptureFixture, headers: dict[str, str] | None, more: dict[str, str]
) -> None:
    note(failures, 7, attempts=3, trace_headers=trace_headers_in(headers or {}))
    assert [vars(record)["fields"] for record in caplog.records] == [
        {"order_id": 7, "user_id": 3, "attempt": 3, **more}
    ]


def test_the_last_attempt_of_an_order_is_logged_as_failed(
    failures: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    note(failures, 2**63 - 1, attempts=10, status=Status.FAILED)
    assert caplog.messages == [f"order {2**63 - 1}: attempt 10 failed, the order is Failed: it broke"]


@pytest.mark.parametrize("error", [Rejected("no"), RetryLater(5), NotDeliveredError("not now")])
def test_an_expected_error_is_logged_without_a_traceback(
    failures: FailureLog, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    note(failures, error=error)
    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.parametrize("error", [KeyError("sku"), SystemExit(3), KeyboardInterrupt()])
def test_an_unexpected_error_is_logged_with_its_stack_frames(
    failures: FailureLog, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 - like the outermost exception handler of a thread
        note(failures, error=raised)
    line, *frames = caplog.messages[0].splitlines()
    assert line == "order 7: attempt 1 failed, it will be retried: it broke"
    assert "in test_an_unexpected_error_is_logged_with_its_stack_frames" in frames[0]


def test_an_error_text_can_not_forge_a_log_line(failures: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("nope\n2026-01-01T00:00:00.000Z INFO all is well\x1b[2J")
    note(failures, error=error, text=text_of(error))
    assert caplog.messages == [
        "order 7: attempt 1 failed, it will be retried: ValueError: nope 2026-01-01T00:00:00.000Z INFO all is well [2J"
    ]


def test_only_the_innermost_frames_of_a_recursion_are_logged(
    failures: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    # Not to Python's limit: there, a garbage collection can fail in a finalizer of other tests.
    def call_again(calls: int) -> None:
        if not calls:
            raise RecursionError("maximum recursion depth exceeded")
        call_again(calls - 1)

    try:
        call_again(10 * MAX_FRAMES)
    except RecursionError as raised:
        note(failures, error=raised)
    assert len(caplog.messages[0].splitlines()) < 2 * MAX_FRAMES + 2


def test_one_failure_a_second_is_logged_and_the_others_are_counted(
    failures: FailureLog, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    for order_id in range(1, 1_001):
        note(failures, order_id)
        watch.now_s += MIN_INTERVAL_S / 2_000
    assert caplog.messages == ["order 1: attempt 1 failed, it will be retried: it broke"]
    failures.log_summary()
    failures.log_summary()
    assert caplog.messages[1:] == ["failed attempts not logged: 0 orders are Failed, 999 will be retried"]
    watch.now_s = 50.0 + MIN_INTERVAL_S
    note(failures, 1_001)
    assert caplog.messages[2:] == ["order 1001: attempt 1 failed, it will be retried: it broke"]


def test_retried_attempts_do_not_suppress_the_line_of_a_failed_order(
    failures: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    for order_id in range(1, 5):
        note(failures, order_id)
        note(failures, 10 + order_id, status=Status.FAILED)
    assert caplog.messages == [
        "order 1: attempt 1 failed, it will be retried: it broke",
        "order 11: attempt 1 failed, the order is Failed: it broke",
    ]
    failures.log_summary()
    assert caplog.messages[2:] == ["failed attempts not logged: 3 orders are Failed, 3 will be retried"]


def test_the_interval_begins_with_the_last_logged_line(
    failures: FailureLog, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    for quarter in range(41):
        watch.now_s = 50.0 + quarter * MIN_INTERVAL_S / 4
        note(failures, quarter + 1)
    assert len(caplog.messages) == 11


def test_the_first_failure_is_logged_even_if_the_clock_is_at_zero(caplog: pytest.LogCaptureFixture) -> None:
    note(FailureLog(clock=lambda: 0.0))
    assert len(caplog.messages) == 1


def test_without_failures_nothing_is_logged(failures: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    failures.log_summary()
    assert caplog.messages == []


def test_failures_of_many_threads_are_all_counted(failures: FailureLog, caplog: pytest.LogCaptureFixture) -> None:
    barrier = threading.Barrier(8)

    def fail() -> None:
        barrier.wait()
        for _ in range(250):
            note(failures)

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.messages) == 1
    failures.log_summary()
    assert caplog.messages[1:] == ["failed attempts not logged: 0 orders are Failed, 1999 will be retried"]
