"""Runs the shell blocks about PostgreSQL from top to bottom, with a new PostgreSQL server as `db.example`."""

import os
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from models.clock import Clock
from models.sqlite.store import SqliteStore
from tests.models.new_database import open_new_database
from tests.models.samples import new_order
from tests.postgresql.databases import connect, execute
from tests.postgresql.programs import installed_programs
from tests.postgresql.server import PrivateServer
from tests.process import ServerProcess
from tests.readme import postgresql_blocks
from tests.terminals import terminals_in_a_copy

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

ORDERS = 1_000


def add_programs(folder: Path) -> None:
    """Makes `.venv/bin/python` and `.venv/bin/pip` run this Python."""
    for name, arguments in (("python", ""), ("pip", "-m pip")):
        script = folder / ".venv" / "bin" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        script.chmod(0o755)


def store_orders(path: Path) -> None:
    database = open_new_database(path)
    with database.connection_context():
        SqliteStore(database, clock=Clock()).write([new_order(number) for number in range(1, ORDERS + 1)])


def test_every_block_about_postgresql_works_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the test accepts every password."""
    folder = tmp_path / "orders"
    with PrivateServer() as server:
        monkeypatch.setenv("PATH", f"{installed_programs()}:{os.environ['PATH']}")
        with connect(server.url()) as connection:
            execute(connection, "CREATE ROLE postgres LOGIN SUPERUSER")
        host = quote(str(server.folder), safe="")
        with terminals_in_a_copy(folder) as terminals:
            add_programs(folder)
            store_orders(folder / "orders.db")
            for block in postgresql_blocks():
                text, answer = (each.replace("db.example", host) for each in (block.text, block.answer))
                terminals.type(block._replace(text=text, answer=answer))
            assert (folder / "orders.dump").stat().st_size > 0
            with connect(server.url("orders")) as connection:
                assert execute(connection, "SELECT count(*) FROM orders") == [(ORDERS,)]
    # The last commands have removed the mark of the file.
    with ServerProcess(folder / "orders.db") as started:
        assert started.get("/metrics").body["total_orders"] == ORDERS
