"""What is kept of the orders of a run."""

from random import Random

from load.chaos.ledger import Ledger


def test_ids_and_values_follow_from_the_seed_and_the_shop() -> None:
    def first(seed: int, name: str) -> bytes:
        return Ledger(seed=seed, name=name).orders.body(0)

    assert first(1, "record") == first(1, "record")
    assert len({first(1, "record"), first(2, "record"), first(1, "webhook")}) == 3


def test_an_order_is_a_stranger_until_it_has_been_sent() -> None:
    ledger = Ledger(seed=1, name="record")
    indexes = ledger.take(2)
    ledger.note_sent(indexes[:1])
    assert [ledger.index_of(ledger.orders.order_id(index)) for index in (-1, 0, 1, 2)] == [None, 0, None, None]


def test_an_order_is_acknowledged_once_however_often_it_is_noted() -> None:
    ledger = Ledger(seed=1, name="record")
    ledger.note_acknowledged(ledger.take(3)[1:])
    ledger.note_acknowledged([1])
    ledger.note_sent([1])
    assert (ledger.acknowledged, ledger.acknowledged_indexes()) == (2, [1, 2])
    assert {ledger.any_acknowledged(Random(seed)) for seed in range(20)} <= {1, 2}


def test_no_order_is_acknowledged_at_first() -> None:
    ledger = Ledger(seed=1, name="record")
    assert ledger.any_acknowledged(Random(1)) is None
    ledger.take(5)
    assert ledger.any_acknowledged(Random(1)) is None
