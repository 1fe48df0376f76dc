"""Which orders a run sends."""

from load.chaos.ledger import Ledger


def test_ids_and_values_follow_from_the_seed_and_the_shop() -> None:
    def first(seed: int, name: str) -> bytes:
        return Ledger(seed=seed, name=name).orders.body(0)

    assert first(1, "record") == first(1, "record")
    assert len({first(1, "record"), first(2, "record"), first(1, "webhook")}) == 3
