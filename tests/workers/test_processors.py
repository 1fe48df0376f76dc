"""What processing an order means."""

from models.order import Order, Outcome, Status
from workers.processors import RecordProcessor


def test_record_completes_every_order_it_is_given() -> None:
    orders = [
        Order(sequence, 100 + sequence, 1, [1], 1, None, Status.PROCESSING, 2, 3, None, 0, None) for sequence in (1, 2)
    ]
    assert RecordProcessor()(orders) == [Outcome(1, 3, Status.COMPLETED), Outcome(2, 3, Status.COMPLETED)]
    assert RecordProcessor()([]) == []
