"""Tests the shop itself."""

import socket
from contextlib import closing

from tests.load.shop import Fault, Shop

ORDER = b'POST /order HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"order_id": %d}'


def test_orders_are_read_that_are_unread_when_the_client_ends(shop: Shop) -> None:
    shop.faults, shop.stall_s = {1: Fault.STALL}, 0.2
    for order_id in (1, 2):
        with closing(socket.create_connection(("127.0.0.1", shop.port))) as client:
            client.sendall(ORDER % order_id)
            assert shop.steps.come(("came", 1))
    shop.read_all()
    assert shop.ids == [1, 2]
