"""A client that reads orders oldest first, from one server after the other, gets each order once and misses none."""

import json
import urllib.request
from collections.abc import Iterator
from itertools import cycle

import pytest

from tests.postgresql.databases import temporary_database
from tests.process import DEADLINE_S, PostingClients, ServerProcess
from tests.server.servers import servers_on

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.fixture
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with temporary_database() as url, servers_on(url) as start:
        yield start(), start()


class Follower:
    """Reads the orders that were accepted since its last read."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._cursor = ""

    def read(self, server: ServerProcess) -> None:
        url = f"http://127.0.0.1:{server.port}/orders?format=ndjson&oldest_first=true{self._cursor}"
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
            for line in response:
                order = json.loads(line)
                self.ids.append(order["order_id"])
                self._cursor = f"&cursor={order['cursor']}"


def test_no_order_is_missed_while_two_servers_accept_orders(servers: tuple[ServerProcess, ServerProcess]) -> None:
    clients = [
        PostingClients(server.port, first_id=first_id)
        for server, first_id in zip(servers, (1, 100_000_001), strict=True)
    ]
    follower = Follower()
    for server in cycle(servers):
        follower.read(server)
        if all(len(each.acknowledged) >= 1_000 for each in clients):
            break
    for each in clients:
        each.join()
        assert not each.refused
    follower.read(servers[0])
    assert len(follower.ids) == len(set(follower.ids))
    assert set(follower.ids) == clients[0].acknowledged | clients[1].acknowledged
    assert [server.stop() for server in servers] == [0, 0]
