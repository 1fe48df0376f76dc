"""The address of a PostgreSQL database: no password is shown, and a server that can't use it says why in one line."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.store import PSYCOPG
from tests.process import run_server

pytestmark = pytest.mark.slow


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("flags", [("--database", "{}"), ("--database={}",)])
def test_a_password_on_the_command_line_is_refused(flags: tuple[str, ...]) -> None:
    url = "postgresql://shop:hunter2@127.0.0.1/orders"
    status, stdout, stderr = run_server(*(flag.format(url) for flag in flags))
    assert (status, stdout) == (2, "")
    assert "set ORDERS_DATABASE to the URL, or set PGPASSWORD, or use a password file" in stderr
    assert "hunter2" not in stderr


def test_a_server_that_is_not_reachable_is_named_without_the_password(unused_port: int) -> None:
    url = f"postgresql://shop:hunter2@127.0.0.1:{unused_port}/orders"
    status, stdout, stderr = run_server("--port", "0", environment={"ORDERS_DATABASE": url})
    assert (status, stdout) == (1, "")
    assert stderr.startswith(f"server.py: postgresql://shop@127.0.0.1:{unused_port}/orders: ")
    assert stderr.endswith("Connection refused\n")
    assert stderr.count("\n") == 1
    assert "hunter2" not in stderr


def test_an_invalid_url_is_refused_without_its_text() -> None:
    environment = {"ORDERS_DATABASE": "postgresql://shop:hunter2/orders"}
    status, stdout, stderr = run_server("--port", "0", environment=environment)
    assert (status, stdout) == (1, "")
    assert "the URL is invalid" in stderr
    assert stderr.count("\n") == 1
    assert "hunter2" not in stderr


def test_a_server_without_psycopg_says_what_to_install(tmp_path: Path) -> None:
    # Python finds this module before the package of the same name.
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError(name='psycopg')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    flags = ("--port", "0", "--database", "postgresql://127.0.0.1/orders")
    status, stdout, stderr = run_server(*flags, environment={"PYTHONPATH": path})
    assert (status, stdout) == (1, "")
    assert stderr.startswith(f'server.py: PostgreSQL needs the package psycopg: run pip install "{PSYCOPG}"')
    assert stderr.count("\n") == 1
