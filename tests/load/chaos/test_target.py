"""Tests the orders of a target, and through which server each is read."""

from load.chaos.target import orders_for


def test_ids_and_values_follow_from_the_seed_and_the_name() -> None:
    def first(seed: int, name: str) -> bytes:
        return orders_for(seed=seed, name=name).body(0)

    assert first(1, "record") == first(1, "record")
    assert len({first(1, "record"), first(2, "record"), first(1, "webhook")}) == 3
