"""Runs the commands of models/README.md that erase all orders of a customer, and that remove traces from the files."""

import gzip
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from models.database.address import PostgresqlUrl
from models.order import Ending, Order, Status
from models.postgresql.opening import open_postgresql_store
from models.sqlite.files.opening import open_database
from models.sqlite.store import SqliteStore
from models.store import Store
from models.writes.attempts import Outcome
from tests.live_orders import wait_until_processed
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute, temporary_database
from tests.process import ServerProcess, order
from tests.readme import MODELS, example, make_checkout, run_shell

USER = 0x7A7B_7C7D_7E7F_7172
TEXT = "zebra.forgetme@mail.example"
BEGINNING = b"zebra"
"""Traces can lack the rest of the text."""
COUNT = 2_000
BATCH = 50


def is_personal(order_id: int) -> bool:
    return order_id % 20 < 4


def store_and_erase_orders(store: ShorthandStore) -> None:
    """Stores and ends orders, a fifth of them with personal data, some after a failed attempt. Erases these."""
    for first in range(1, COUNT, BATCH):
        numbers = range(first, first + BATCH)
        store.insert(
            *(
                new_order(number, user_id=USER, metadata=f'{{"email": "{TEXT}"}}')
                if is_personal(number)
                else new_order(number, user_id=5, metadata='{"email": "c1001@mail.example"}')
                for number in numbers
            )
        )
        store.finish(*(first_outcome(each) for each in store.claim()))
    while claimed := store.claim():
        store.finish(*(Outcome(each.sequence, each.claims, Status.COMPLETED) for each in claimed))
    for number in range(1, COUNT + 1):
        if is_personal(number) or number % 5 in (0, 1):
            store.erase(number)
    store.scrub()


def first_outcome(order: Order) -> Outcome:
    if order.order_id % 5 == 1:
        return Outcome(order.sequence, order.claims, Status.PENDING, f"mail to {TEXT} bounced", 0, Ending.FAILED)
    if order.order_id % 5 == 0:
        return Outcome(order.sequence, order.claims, Status.FAILED, f"no delivery to {TEXT}")
    return Outcome(order.sequence, order.claims, Status.COMPLETED)


def new_shorthand(store: Store) -> ShorthandStore:
    shorthand = ShorthandStore(store)
    shorthand.connect()
    shorthand.recover()
    return shorthand


def traces(contents: Iterable[bytes]) -> int:
    return sum(each.count(word) for each in contents for word in (BEGINNING, USER.to_bytes(8)))


def test_vacuum_leaves_no_trace_in_the_file(tmp_path: Path, clock: Clock) -> None:
    command = example("execute('VACUUM')", MODELS)
    path = tmp_path / "restored.db"
    store = new_shorthand(SqliteStore(open_database(path), clock=clock))
    store_and_erase_orders(store)
    found = store.find_one(COUNT)
    store.disconnect()
    assert traces([path.read_bytes()]) > 0, "There is nothing to remove."
    make_checkout(tmp_path)
    run_shell(command, folder=tmp_path)
    assert traces(each.read_bytes() for each in tmp_path.glob("restored.db*")) == 0
    store = new_shorthand(SqliteStore(open_database(path), clock=clock))
    assert store.find_one(COUNT) == found
    store.disconnect()


def relation_files(url: str) -> Iterator[bytes]:
    with connect(url) as connection:
        execute(connection, "CHECKPOINT")
        for [content] in execute(
            connection,
            "SELECT pg_read_binary_file(pg_relation_filepath(oid)) FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')",
        ):
            yield content


@pytest.mark.postgresql
def test_vacuum_full_leaves_no_trace_in_the_tables_of_postgresql(clock: Clock) -> None:
    found = re.search(r"`(VACUUM FULL [^`]+)`", MODELS.read_text())
    assert found
    with temporary_database() as url:
        store = new_shorthand(open_postgresql_store(PostgresqlUrl(url), clock=clock))
        store_and_erase_orders(store)
        with connect(url) as connection:
            execute(connection, "VACUUM orders, ends, attempts, work")
            # The bytes of a number are reversed here.
            reverse = USER.to_bytes(8, "little")
            assert sum(each.count(reverse) for each in relation_files(url)) > 0, "There is nothing to remove."
            execute(connection, found[1])
            assert sum(each.count(reverse) + traces([each]) for each in relation_files(url)) == 0
        assert store.find_one(COUNT).user_id == 0
        store.disconnect()


@pytest.mark.slow
def test_the_orders_of_a_customer_are_erased(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        for number in range(1, 8):
            server.post(order(number) | {"user_id": 1 + number % 2, "metadata": {"order_id": 3}})
        wait_until_processed(server)
        run_shell(example("> erased.txt", MODELS), port=server.port, folder=tmp_path)
        assert (tmp_path / "erased.txt").read_text().split() == ["6", "4", "2"]
        run_shell(example("done < erased.txt", MODELS), port=server.port, folder=tmp_path)
        users = [server.get(f"/order/{number}").body["user_id"] for number in range(1, 8)]
        assert users == [2, 0, 2, 0, 2, 0, 2]


def test_the_lines_of_a_customer_are_removed_from_an_archive(tmp_path: Path) -> None:
    block = example("zcat orders-2025-06-01.ndjson.gz", MODELS)
    orders = [
        {"order_id": number, "user_id": user, "metadata": {"user_id": 1, "x": 0}}
        for number, user in enumerate((1, 2, 11, 1, 3), 1)
    ]
    lines = [json.dumps(each, separators=(",", ":")) + "\n" for each in orders]
    archive = tmp_path / "orders-2025-06-01.ndjson.gz"
    # A file of the archive has several gzip members.
    archive.write_bytes(b"".join(gzip.compress("".join(part).encode()) for part in (lines[:2], lines[2:])))
    subprocess.run(["sh", "-ec", block.text], cwd=tmp_path, check=True)
    assert gzip.decompress(archive.read_bytes()).decode() == "".join(lines[number] for number in (1, 2, 4))
    assert list(tmp_path.iterdir()) == [archive]
