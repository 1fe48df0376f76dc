"""`--move-to`: a real server answers the same on both databases; signals, kills and wrong flags of the command."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from urllib.request import urlopen

import pytest

from models.order import Status
from models.sqlite.store import SqliteStore
from tests.models.moving.shops import all_kinds, make_file, starts
from tests.models.new_database import open_new_database
from tests.models.postgresql.tables import check_tables, recount
from tests.models.samples import Clock, new_order
from tests.postgresql.databases import connect, execute, temporary_database
from tests.process import DEADLINE_S, HANGS_AFTER_S, ROOT, ServerProcess, run_server, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.slow, pytest.mark.sqlite]

MANY = 60_000
LISTS = ("", "?limit=5", "?user_id=1", "?user_id=2&status=Pending", *(f"?status={status}" for status in Status))
DUE_TIME = re.compile(r'"next_attempt_at":"([^"]*)"')
MOST_KILLS = 12


@pytest.fixture
def url() -> Iterator[str]:
    with temporary_database() as url:
        yield url


@pytest.fixture
def many_orders(tmp_path: Path) -> Path:
    """A file with many Pending orders."""
    path = tmp_path / "orders.db"
    database = open_new_database(path)
    with database.connection_context():
        database.pragma("synchronous", 0)
        store = SqliteStore(database, clock=Clock())
        for first in range(1, MANY, 10_000):
            store.write([new_order(each, user_id=each % 97 + 1) for each in range(first, first + 10_000)])
    return path


def command(path: Path, url: str) -> list[str]:
    return [sys.executable, "server.py", "--database", str(path), "--move-to", url]


def start(path: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(path, url), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def check_moved(path: Path, url: str, orders: int) -> None:
    assert (starts(path), starts(url)) == (False, True)
    with connect(url) as connection:
        check_tables(connection)
        assert recount(connection).orders == orders


def answers(server: ServerProcess, ids: list[int]) -> tuple[list[str], list[datetime]]:
    """The bodies of all responses about orders, and the due times, which are removed from the bodies."""
    paths = [f"/orders{query}" for query in LISTS]
    paths += [path for each in ids for path in (f"/order/{each}", f"/order/{each}/attempts")]
    bodies: list[str] = []
    times: list[datetime] = []
    for path in paths:
        with urlopen(f"http://127.0.0.1:{server.port}{path}") as response:
            body = response.read().decode()
        times += map(datetime.fromisoformat, DUE_TIME.findall(body))
        bodies.append(DUE_TIME.sub("", body))
    metrics = server.get("/metrics").body
    bodies.append(str({name: value for name, value in metrics.items() if re.search("_orders$|^avg_|paused", name)}))
    return bodies, times


def ids_of_page(server: ServerProcess, cursor: str) -> list[int]:
    return [order["order_id"] for order in server.get(f"/orders?limit=5&cursor={cursor}").body["orders"]]


def test_a_server_answers_the_same_bytes_before_and_after_the_move(tmp_path: Path, url: str) -> None:
    path = tmp_path / "orders.db"
    orders = all_kinds()
    make_file(path, orders, Clock(), is_paused=True)
    ids = [fate.order.order_id for fate in orders]
    with ServerProcess(path) as server:
        before, due_before = answers(server, ids)
        cursor = server.get("/orders?limit=5").body["next_cursor"]
        page = ids_of_page(server, cursor)
        assert server.stop() == 0
    status, stdout, stderr = run_server(*command(path, url)[2:])
    assert (status, stderr) == (0, "")
    assert [line.partition(" ")[0] for line in stdout.splitlines()] == [
        "copying", "copied", "counted", "compared", "finished:", "next:"
    ]  # fmt: skip
    with ServerProcess(path, "--database", url) as server:
        after, due_after = answers(server, ids)
        assert ids_of_page(server, cursor) == page
    assert after == before
    # Each process measures the difference between the clocks.
    assert len(due_after) == len(due_before) > 0
    assert all(abs((a - b).total_seconds()) < 0.5 for a, b in zip(due_after, due_before, strict=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_the_next_one_goes_on(
    many_orders: Path, url: str, number: signal.Signals
) -> None:
    with start(many_orders, url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"copying {MANY:,} orders from {many_orders} to {url.partition('?')[0]}\n"
        with connect(url) as connection:
            wait_until(lambda: execute(connection, "SELECT copied > 0 FROM move") == [(True,)])
        process.send_signal(number)
        _, stderr = process.communicate(timeout=HANGS_AFTER_S)
    assert (process.returncode, stderr) == (128 + number, "interrupted: run the same command again to go on\n")
    assert [each.name for each in many_orders.parent.iterdir()] == ["orders.db"]
    assert not starts(url)
    status, stdout, _ = run_server(*command(many_orders, url)[2:])
    assert status == 0
    assert "continuing the interrupted move" in stdout
    check_moved(many_orders, url, MANY)


def test_a_reader_that_closes_the_pipe_ends_the_command(many_orders: Path, url: str) -> None:
    with start(many_orders, url) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert not starts(url)


def test_a_move_that_is_killed_many_times_moves_every_order_once(many_orders: Path, url: str) -> None:
    random = Random(4)
    for _ in range(MOST_KILLS):
        with start(many_orders, url) as process:
            try:
                process.communicate(timeout=0.5 + 2 * random.random())
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert run_server(*command(many_orders, url)[2:])[0] == 0
    check_moved(many_orders, url, MANY)
    status, stdout, _ = run_server(*command(many_orders, url)[2:])
    assert (status, stdout.splitlines()[0]) == (0, f"the orders of {many_orders} have been moved already")


def test_a_file_that_was_moved_is_refused_in_one_line(tmp_path: Path, url: str) -> None:
    path = tmp_path / "orders.db"
    make_file(path, all_kinds(), Clock())
    assert run_server(*command(path, url)[2:])[0] == 0
    status, stdout, stderr = run_server("--port", "0", "--database", str(path))
    assert (status, stdout) == (1, "")
    assert re.fullmatch(r"server\.py: the orders of .* were moved: start the server with --database [^\n]*\n", stderr)
    with ServerProcess(path, "--database", url) as server:
        wait_until(lambda: server.get("/metrics").body["completed_orders"] > 0)


@pytest.mark.parametrize(
    ("flags", "status", "saying"),
    [
        (("--move-to", "other.db"), 2, "must begin with postgresql://"),
        (("--move-to", "postgresql://shop:hunter2@127.0.0.1/orders"), 2, "set PGPASSWORD, or use a password file"),
        (("--database", "postgresql://a/b", "--move-to", "postgresql://a/c"), 2, "needs a SQLite file as --database"),
        (
            ("--database", "missing.db", "--move-to", "postgresql://127.0.0.1:1/orders"),
            1,
            "does not exist, or is empty",
        ),
    ],
)
def test_a_wrong_flag_is_refused(flags: tuple[str, ...], status: int, saying: str) -> None:
    ended, stdout, stderr = run_server(*flags)
    assert (ended, stdout) == (status, "")
    assert saying in stderr
    assert "hunter2" not in stderr
