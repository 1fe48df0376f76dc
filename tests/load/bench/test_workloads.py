"""Tests the requests that the benchmark sends."""

import json
from itertools import count, islice
from math import gcd
from socket import AF_INET

from load.bench.trial import Server
from load.bench.workloads import STRIDE, USERS, array_posts, body, gets, posts
from load.http.address import Address, ServerUrl

ADDRESS = Address(ServerUrl.parse("http://127.0.0.1:1"), AF_INET, ("127.0.0.1", 1))


def _users(first_id: int, orders: int) -> list[int]:
    return [json.loads(body(order_id))["user_id"] for order_id in range(first_id, first_id + orders)]


def test_consecutive_orders_have_different_users() -> None:
    assert gcd(STRIDE, USERS) == 1
    users = _users(1, 1_000)
    assert len(set(users)) == 1_000
    assert 1 <= min(users) < max(users) <= USERS


def test_an_order_always_has_the_same_user() -> None:
    assert _users(USERS + 1, 3) == _users(1, 3)
    assert _users(7, 3) == _users(1, 9)[6:]


def test_an_order_is_posted_for_every_id() -> None:
    requests = list(posts(ADDRESS, iter((5, 6))))
    assert [request.partition(b"\r\n\r\n")[2] for request in requests] == [body(5), body(6)]
    assert requests[0].startswith(b"POST /order HTTP/1.1\r\n")


def test_orders_are_posted_in_arrays_without_end() -> None:
    ids = count(1)
    requests = list(islice(array_posts(ADDRESS, ids, size=3), 2))
    sent = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in requests]
    assert [[order["order_id"] for order in orders] for orders in sent] == [[1, 2, 3], [4, 5, 6]]
    assert requests[0].startswith(b"POST /orders HTTP/1.1\r\n")
    assert next(ids) == 7


def test_the_same_seed_asks_for_the_same_orders() -> None:
    servers = [Server("ours", ADDRESS, ids=count(1), seeds=count(3), stored=10) for _ in range(2)]
    one, other = (list(islice(gets(server), 20)) for server in servers)
    assert one == other
    assert len(set(one)) > 1
