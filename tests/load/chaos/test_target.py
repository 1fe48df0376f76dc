"""Tests the orders of a target, and through which server each is read."""

from itertools import permutations

from load.chaos.target import Target, orders_for
from load.http.connection import Response


def test_ids_and_values_follow_from_the_seed_and_the_name() -> None:
    def first(seed: int, name: str) -> bytes:
        return orders_for(seed=seed, name=name).body(0)

    assert first(1, "record") == first(1, "record")
    assert len({first(1, "record"), first(2, "record"), first(1, "webhook")}) == 3


def test_an_order_is_read_from_another_server_than_the_one_that_acknowledged_it(balanced: Target) -> None:
    acknowledged: dict[int, int] = {}
    for node in (0, 1, 2, 2, 1, 0) * 5:
        indexes = balanced.ledger.take(4, is_sent=True)[:3]
        head = b"http/1.1 202 accepted\r\nx-node: 127.0.0.1:%d" % balanced.nodes[node].address.url.port
        balanced.note_acknowledged(indexes, Response(202, head, b"", keep_alive=True))
        acknowledged |= dict.fromkeys(indexes, node)
    read = [(index, node) for node in range(3) for index in balanced.orders_to_read(node)]
    assert sorted(index for index, _ in read) == balanced.ledger.acknowledged_indexes() == [*acknowledged]
    # Each server reads orders of both others.
    assert {(acknowledged[index], node) for index, node in read} == {*permutations(range(3), 2)}


def test_a_single_server_reads_its_own_orders(target: Target) -> None:
    indexes = target.ledger.take(3, is_sent=True)
    target.note_acknowledged(indexes, Response(202, b"http/1.1 202 accepted", b"", keep_alive=True))
    assert target.orders_to_read(0) == [*indexes]
