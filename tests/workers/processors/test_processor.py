"""The processor that completes every order."""

from models.order import Order, Status
from workers.processors.record import RecordProcessor


def test_record_completes_a_whole_batch() -> None:
    orders = [Order(n, n, 1, [1], 1, None, Status.PROCESSING, 1, 1, None, 0, None) for n in (1, 2, 3)]
    processor = RecordProcessor()
    assert processor.batch_size >= len(orders)
    processor(orders)
