"""`GET /orders/events` of several servers on one database: every server sends the events of all of them."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.postgresql.databases import temporary_database
from tests.postgresql.server import PrivateServer
from tests.process import ServerProcess, order, wait_until
from tests.server.event_reader import EventReader
from tests.server.servers import StartServer, servers_on
from tests.sse import Message
from tests.user_module import UserModule

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.fixture
def start() -> Iterator[StartServer]:
    """Starts a server on the database of the test."""
    with temporary_database() as url, servers_on(url) as start:
        yield start


def post(server: ServerProcess, order_ids: Sequence[int]) -> None:
    with server.client() as client:
        for order_id in order_ids:
            assert client.post(order(order_id)).status == 202


def is_ready(server: ServerProcess) -> bool:
    return server.get("/readyz").status == 200


def check_life_of_orders(messages: Sequence[Message], order_ids: Sequence[int]) -> None:
    """Each order has had its events once and in order, and no other order has had events."""
    statuses = defaultdict(list)
    for message in messages:
        assert message.type == "order"
        statuses[message.json["order_id"]].append(message.json["status"])
    assert sorted(statuses) == list(order_ids)
    # An order that is claimed in the commit that stores it was never Pending.
    allowed = (["Processing", "Completed"], ["Pending", "Processing", "Completed"])
    assert [each for each in statuses.values() if each not in allowed] == []


def test_every_server_sends_the_events_of_all_servers_with_the_same_ids(start: StartServer) -> None:
    servers = [start() for _ in range(3)]
    with EventReader(servers[0]) as one, EventReader(servers[1]) as two:
        threads = [
            threading.Thread(target=post, args=(server, range(first, 301, 3)))
            for first, server in enumerate(servers, 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        messages = one.until_ended(300)
        check_life_of_orders(messages, range(1, 301))
        assert two.until(len(messages)) == messages
        with EventReader(servers[2], "?order_id=1") as three:
            post(servers[0], [400])
            assert [each.json["order_id"] for each in one.until(len(messages) + 1)[-1:]] == [400]
            assert three.messages == []


def test_a_reader_goes_on_at_other_servers_without_missing_an_event(start: StartServer) -> None:
    servers = [start() for _ in range(3)]
    with EventReader(servers[0]) as moving, EventReader(servers[0]) as staying:
        posting = threading.Thread(target=post, args=(servers[1], range(1, 501)))
        posting.start()
        for step in range(1, 15):
            moving.until(20 * step)
            moving.connect(servers[step % 3])
        posting.join()
        messages = moving.until_ended(500)
        check_life_of_orders(messages, range(1, 501))
        assert staying.until(len(messages)) == messages


def test_a_reader_of_a_server_that_is_killed_goes_on_at_another_one(start: StartServer) -> None:
    first, second = start(), start()
    with EventReader(first) as reader:
        post(first, range(1, 51))
        reader.until(20)
        for order_id in range(1, 51):
            assert first.get(f"/order/{order_id}?wait=30").body["status"] == "Completed"
        first.kill()
        # No client of the second server has read events before.
        post(second, range(51, 101))
        reader.connect(second)
        check_life_of_orders(reader.until_ended(100), range(1, 101))


def test_a_reader_goes_on_after_a_restart_of_the_only_server(start: StartServer) -> None:
    server = start()
    with EventReader(server) as reader:
        post(server, [1])
        reader.until_ended(1)
        assert server.stop() == 0
        server = start()
        post(server, [2])
        reader.connect(server)
        check_life_of_orders(reader.until_ended(2), [1, 2])


def test_the_orders_that_a_killed_server_was_processing_have_events(tmp_path: Path) -> None:
    with (
        temporary_database() as url,
        servers_on(url) as start,
        UserModule(tmp_path, "tell(order)\nwait_at_gate()") as module,
        module.server("--database", url) as first,
        EventReader(first) as reader,
    ):
        post(first, [1])
        assert module.call().order_id == 1
        second = start()
        reader.connect(second)
        first.kill()
        statuses = [each.json["status"] for each in reader.until(4)]
        assert statuses == ["Processing", "Pending", "Processing", "Completed"]


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_after_a_crash_of_postgresql_readers_learn_that_events_are_missing(mode: str) -> None:
    with PrivateServer() as postgresql, servers_on(postgresql.url()) as start:
        first, second = start(), start()
        with EventReader(first) as staying, EventReader(first) as moving:
            post(first, [1])
            for reader in (staying, moving):
                reader.until_ended(1)
            moving.close()
            postgresql.stop(mode)
            postgresql.start()
            for server in (first, second):
                wait_until(partial(is_ready, server))
            moving.connect(second)
            if mode == "immediate":
                # A crash empties the feed.
                for reader in (staying, moving):
                    assert [each.type for each in reader.until(3)] == ["order", "order", "reset"]
                    reader.messages.clear()
                expected = [2]
            else:
                expected = [1, 2]
            post(second, [2])
            for reader in (staying, moving):
                check_life_of_orders(reader.until_ended(len(expected)), expected)
            assert staying.messages == moving.messages
