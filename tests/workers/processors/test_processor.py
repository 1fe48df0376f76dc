"""The processor that completes every order, and the measured processor."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import count

import pytest

from models.order import Order, Status
from tests.workers.recording_observer import RecordingObserver
from workers.processors.outcomes import NotSentError, Rejected
from workers.processors.processor import MeasuredProcessor
from workers.processors.record import RecordProcessor

ORDERS = [Order(n, n, 1, [1], 1, None, Status.PROCESSING, 1, 1, None, 0, None) for n in (1, 2, 3)]


class ScriptedProcessor:
    """Raises or returns what it is given."""

    batch_size = 3

    def __init__(self, result: Future[None] | BaseException | None) -> None:
        self._result = result

    def __call__(self, orders: Sequence[Order]) -> Future[None] | None:
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


def seconds() -> Iterator[float]:
    return map(float, count())


def test_record_completes_a_whole_batch() -> None:
    processor = RecordProcessor()
    assert processor.batch_size >= len(ORDERS)
    processor(ORDERS)


@pytest.mark.gen_test
async def test_calls_that_return_or_raise_are_measured() -> None:
    observer, clock = RecordingObserver(), seconds()
    assert MeasuredProcessor(ScriptedProcessor(None), observer=observer, clock=clock.__next__)(ORDERS) is None
    raising = MeasuredProcessor(ScriptedProcessor(Rejected("no")), observer=observer, clock=clock.__next__)
    with pytest.raises(Rejected, match="no"):
        raising(ORDERS)
    assert observer.attempts == [3, 3]


@pytest.mark.gen_test
async def test_a_call_that_returns_a_future_is_measured_when_the_future_ends() -> None:
    observer, pending = RecordingObserver(), Future[None]()
    measured = MeasuredProcessor(ScriptedProcessor(pending), observer=observer, clock=seconds().__next__)
    assert measured(ORDERS) is pending
    assert observer.attempts == []
    pending.set_result(None)
    assert observer.attempts == [3]


@pytest.mark.gen_test
async def test_a_call_that_sends_no_order_is_not_measured() -> None:
    observer = RecordingObserver()
    measured = MeasuredProcessor(ScriptedProcessor(NotSentError()), observer=observer, clock=seconds().__next__)
    with pytest.raises(NotSentError):
        measured(ORDERS)
    assert observer.attempts == []
