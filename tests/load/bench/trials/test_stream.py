"""Tests how statements are recorded and executed again. The measured speed is not tested."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from load.bench.trial import Trial
from load.bench.trials.stream import Recording, replay
from load.system.server_process import ROOT
from tests.load.bench.shop_trial import shop_trial

# Two connections write, and one reads. The statements that only a program with a table of blocks has are marked by it.
PROGRAM = """
import sqlite3, sys
first, reader, second = (sqlite3.connect(sys.argv[1], isolation_level=None) for _ in range(3))
first.execute("CREATE TABLE orders (sequence INTEGER PRIMARY KEY, created_us INTEGER, status TEXT)")
first.execute("CREATE TABLE blocks (block INTEGER)")
first.execute("CREATE TABLE totals (completed INTEGER)")
first.execute("INSERT INTO totals VALUES (0)")
reader.execute("SELECT count(*) FROM orders")
second.cursor().execute("BEGIN IMMEDIATE")
second.execute("INSERT INTO orders (created_us, status) SELECT value, 'Pending' FROM json_each(?)", ("[7, 8]",))
second.execute("INSERT INTO blocks VALUES (?)", (1,))
second.execute("COMMIT")
second.execute("BEGIN IMMEDIATE")
second.execute("UPDATE orders SET status = 'Completed'")
second.execute("UPDATE totals SET completed = completed + 2")
second.execute("COMMIT")
second.execute("BEGIN IMMEDIATE")
second.execute("SELECT 1")
second.execute("COMMIT")
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("recorded")
    program, file = folder / "program.py", folder / "statements"
    program.write_text(PROGRAM)
    command = ["-m", "load.bench.recorded_server", str(file), str(program), str(folder / "orders.db")]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    return Recording.read(file)


def _trial(folder: Path) -> Trial:
    return replace(asyncio.run(shop_trial({})), folder=folder)


def test_the_transactions_of_the_writing_connections_are_recorded_with_their_parameters(recording: Recording) -> None:
    assert [sql.split()[0] for sql, _ in recording.earlier] == ["CREATE", "CREATE", "CREATE", "INSERT"]
    assert [[sql.split()[0] for sql, _ in transaction] for transaction in recording.transactions] == [
        ["BEGIN", "INSERT", "INSERT", "COMMIT"],
        ["BEGIN", "UPDATE", "UPDATE", "COMMIT"],
    ]
    assert [list(parameters) for _, parameters in recording.transactions[0]] == [[], ["[7, 8]"], [1], []]


def test_the_statements_are_executed_on_new_files_each_time(recording: Recording, tmp_path: Path) -> None:
    for _ in range(2):
        for measured in replay(_trial(tmp_path), [recording, recording.with_three_indexes()], orders=2):
            assert (measured.right, measured.wrong) == (2, {})
            assert measured.elapsed_s > 0
    assert list(tmp_path.iterdir()) == []


def test_orders_that_the_statements_do_not_complete_are_wrong(recording: Recording, tmp_path: Path) -> None:
    [measured] = replay(_trial(tmp_path), [recording], orders=3)
    assert measured.wrong == {"statements that do not complete all orders": 1}


def test_the_other_schema_has_three_more_indexes_and_no_blocks(recording: Recording) -> None:
    indexed = recording.with_three_indexes()
    assert sum("CREATE INDEX" in sql for sql, _ in indexed.earlier) == 3
    [inserting, completing] = indexed.transactions
    assert [sql.split()[0] for sql, _ in inserting] == ["BEGIN", "INSERT", "COMMIT"]
    assert completing == recording.transactions[1]
