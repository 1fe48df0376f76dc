"""Tests the checks of second servers, on the real server and on servers with errors."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from load.chaos.databases.disk import NotPossible
from load.chaos.injection.second_server import SecondServers
from load.chaos.target import orders_for
from tests.process import ServerProcess, order

pytestmark = pytest.mark.slow

LOSING_SERVER = ["tests/load/chaos/losing_server.py"]
CARELESS_SERVER = ["-m", "tests.load.chaos.injection.careless_server"]
ACCEPTED = [
    "a new order that can't be stored got 202 (second-1)",
    "/readyz got 404 although orders can't be stored (second-1)",
    "the log of a second server does not say what is wrong (second-1)",
]
Start = Callable[..., list[str]]
STARTS: list[Start] = [SecondServers.on_hard_link, SecondServers.without_lock_file]


@pytest.fixture
def first(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that has stored an order, with its database in `tmp_path`."""
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.post(order(1)).status == 202
        yield server


@pytest.fixture
def second(tmp_path: Path) -> Callable[[Sequence[str]], SecondServers]:
    """A function that returns second servers with this command."""

    def create(command: Sequence[str]) -> SecondServers:
        folder = tmp_path / "second"
        folder.mkdir()
        return SecondServers(command=command, folder=folder, orders=orders_for(seed=1, name="second"), rng=Random(1))

    return create


Create = Callable[[Sequence[str]], SecondServers]


def read_only_problems(second: SecondServers) -> list[str]:
    """Skip the test if this machine can't mount file systems, for example because the user is not root."""
    try:
        return second.on_read_only_disk()
    except NotPossible as reason:
        pytest.skip(str(reason))


def test_the_real_server_does_everything_right(first: ServerProcess, second: Create, tmp_path: Path) -> None:
    servers = second(["server.py"])
    for start in STARTS:
        assert start(servers, first.database, owner=first.pid) == []
    for _ in range(3):
        assert servers.on_damaged_index(first.database) == []
        assert servers.on_truncated_wal(first.database) == []
    # No folder is kept.
    assert [*(tmp_path / "second").iterdir()] == []
    assert first.post(order(2)).status == 202


def test_the_real_server_reports_a_read_only_disk(second: Create) -> None:
    assert read_only_problems(second(["server.py"])) == []


@pytest.mark.parametrize("start", STARTS)
def test_a_second_server_that_starts_is_wrong(start: Start, first: ServerProcess, second: Create) -> None:
    problems = start(second(LOSING_SERVER), first.database, owner=first.pid)
    assert problems == ["a second server was not refused (second-1)"]


def test_a_refusal_without_the_process_id_is_wrong(first: ServerProcess, second: Create) -> None:
    servers = second(["-c", f"raise SystemExit('in use by {first.pid}0')"])
    problems = servers.on_hard_link(first.database, owner=first.pid)
    assert problems == ["the refusal of a second server does not name the first one (second-1)"]


def test_a_refusal_with_another_status_is_wrong(first: ServerProcess, second: Create) -> None:
    servers = second(["-c", f"print('in use by process {first.pid}'); raise SystemExit(3)"])
    problems = servers.on_hard_link(first.database, owner=first.pid)
    assert problems == ["a second server ended with status 3 (second-1)"]


def test_a_server_that_acknowledges_orders_despite_a_damaged_index_is_wrong(
    first: ServerProcess, second: Create, tmp_path: Path
) -> None:
    assert second(LOSING_SERVER).on_damaged_index(first.database) == ACCEPTED
    assert (tmp_path / "second" / "second-1" / "orders.db").exists()


def test_a_server_that_does_not_start_with_a_damaged_index_is_wrong(first: ServerProcess, second: Create) -> None:
    problems = second(["-c", "raise SystemExit('it is damaged')"]).on_damaged_index(first.database)
    assert problems == ["a second server did not start: it is damaged (second-1)", ACCEPTED[2]]


def test_a_server_that_does_not_notice_a_truncated_wal_is_wrong(first: ServerProcess, second: Create) -> None:
    problems = second(CARELESS_SERVER).on_truncated_wal(first.database)
    accepted, ready, status, unlogged = problems
    assert [accepted, unlogged] == [ACCEPTED[0], ACCEPTED[2]]
    assert ready == "/readyz got 200 although orders can't be stored (second-1)"
    assert status == "a second server: exit status 3 after SIGTERM (second-1)"


def test_a_wal_that_is_truncated_too_late_is_no_fault(
    first: ServerProcess, second: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.injection.second_server.TRUNCATION_LIMIT_S", 0.0)  # shorter than any machine needs
    with pytest.raises(TimeoutError, match="too late"):
        second(["server.py"]).on_truncated_wal(first.database)


def test_a_server_that_acknowledges_orders_on_a_read_only_disk_is_wrong(second: Create) -> None:
    assert read_only_problems(second(LOSING_SERVER)) == ACCEPTED


def test_without_mkfs_a_read_only_disk_is_not_possible(second: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("load.chaos.databases.disk.SYSTEM_FOLDERS", "/nowhere")  # a machine without the program
    with pytest.raises(NotPossible, match=r"^mkfs\.ext4 is not installed$"):
        second(["server.py"]).on_read_only_disk()


def test_a_database_that_can_not_be_copied_is_an_error(second: Create, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="unable to open database file"):
        second(["server.py"]).on_damaged_index(tmp_path / "none.db")
