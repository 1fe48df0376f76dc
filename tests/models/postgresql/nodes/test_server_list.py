"""Tests the list of servers, and how many of them share the limits."""

import os
import platform
from datetime import datetime

import pytest

from models.database.servers import Server
from models.order import Status
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.two_servers import LEASE_S, two_servers
from tests.models.postgresql.two_servers import Server as Store
from tests.models.samples import Clock, new_order
from tests.postgresql.databases import connect, execute

pytestmark = pytest.mark.postgresql

NAME = f"{platform.node()}:{os.getpid()}"


def servers_of(store: Store) -> list[Server]:
    return list(store.status().servers)


def test_each_server_sees_all_servers_and_what_they_process(servers: tuple[Store, Store]) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 6)))
    first.claim(2)
    second.claim(1)
    for store in servers:
        store.live(1)
    expected = [(NAME, True, 2), (NAME, True, 1)]
    for place, store in enumerate(servers):
        found = servers_of(store)
        assert [(each.name, each.is_alive, each.processing) for each in found] == expected
        assert [each.is_this for each in found] == [place == 0, place == 1]
        assert found[0].number < found[1].number
        assert store.living_servers == 2
        now_s = datetime.now().timestamp()
        assert all(now_s - 60 < each.started_us / 1_000_000 < now_s + 60 for each in found)
        assert all(0 <= each.lease_age_s < 30 for each in found)


def test_a_server_knows_the_others_when_it_starts(engine: PostgresqlEngine, clock: Clock) -> None:
    with two_servers(engine, clock) as (_, second):
        assert second.living_servers == 2
        assert len(servers_of(second)) == 2


def test_ages_go_on_while_the_list_can_not_be_read(servers: tuple[Store, Store]) -> None:
    first, _ = servers
    first.live(1)
    before = servers_of(first)
    first.monotonic_s += 60
    for earlier, later in zip(before, servers_of(first), strict=True):
        assert later.lease_age_s - earlier.lease_age_s == pytest.approx(60)
        assert later.is_alive


def test_a_server_whose_lease_has_expired_is_not_alive_until_it_is_taken_over(
    engine: PostgresqlEngine, servers: tuple[Store, Store]
) -> None:
    first, second = servers
    first.insert(new_order(1))
    first.claim()
    engine.expire_leases()
    second.live(1)
    assert [(each.is_alive, each.processing) for each in servers_of(second)] == [(False, 1), (True, 0)]
    assert servers_of(second)[0].lease_age_s > 80_000
    assert second.living_servers == 1
    second.live(LEASE_S)
    assert [each.is_this for each in servers_of(second)] == [True]
    # The first server comes back with a new number.
    first.live(1)
    assert [each.is_this for each in servers_of(first)] == [False, True]
    assert first.living_servers == 2


def test_a_server_that_has_stopped_is_not_in_the_list(servers: tuple[Store, Store]) -> None:
    first, second = servers
    first.insert(new_order(1))
    first.claim()
    first.disconnect()
    second.live(1)
    assert [each.is_this for each in servers_of(second)] == [True]
    assert second.living_servers == 1


def test_the_sum_of_what_servers_process_is_that_of_the_totals(
    engine: PostgresqlEngine, servers: tuple[Store, Store]
) -> None:
    first, second = servers
    first.insert(*map(new_order, range(1, 6)))
    first.claim(3)
    second.live(LEASE_S)
    engine.expire_leases()
    second.live(1)
    claimed = second.claim(4)
    second.finish_attempt(claimed[0], Status.COMPLETED)
    second.live(1)
    with connect(engine.url) as connection:
        counts = execute(connection, "SELECT node, count(*) FROM work WHERE node IS NOT NULL GROUP BY node")
    assert counts == [(each.number, each.processing) for each in servers_of(second)]
    assert counts[0][1] == 3
