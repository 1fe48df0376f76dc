"""A real server with a full disk, or with a locked, removed or replaced database. A sync precedes every 202."""

import os
import re
import resource
import select
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.live_orders import assert_all_completed
from tests.models.damage import change_row, damage_root
from tests.process import DEADLINE_S, ServerProcess, limit_file_size, need, order, run_server, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]


def test_orders_are_rejected_while_the_disk_is_full(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as client:
        assert client.post(order(1)).status == 202
        limit_file_size(server.pid, 4096)
        for order_id in range(2, 6):
            refused = client.post(order(order_id))
            assert refused.status == 503
            assert refused.body["type"] == "/problems/storage-unavailable"
            assert refused.headers["Retry-After"]
        assert client.ask("GET", "/readyz").status == 503
        assert client.ask("GET", "/livez").status == 200
        assert client.ask("GET", "/order/1").status == 200
        assert client.ask("GET", "/order/2").status == 404
        limit_file_size(server.pid, resource.RLIM_INFINITY)
        assert client.ask("GET", "/readyz").status == 200
        assert client.post(order(2)).status == 202
        assert client.ask("GET", "/metrics").body["total_orders"] == 2
        assert_all_completed(server, [1, 2])
        assert server.stop() == 0
        # One line for each change, however many requests there were.
        [failing] = [line for line in server.log.splitlines() if "writes of the database fail" in line]
        assert "WARNING" in failing
        assert "SQLITE_" in failing
        assert server.log.count("INFO writes of the database work again") == 1


def test_a_server_with_a_damaged_index_starts_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server:
        assert server.post(order(1)).status == 202
        assert_all_completed(server, [1])
        assert server.stop() == 0
    damage_root(path, "orders_order_id")
    with ServerProcess(path) as server, server.client() as client:
        for _ in range(3):
            assert client.ask("GET", "/readyz").status == 503
        for refused in (client.post(order(2)), client.ask("GET", "/order/1")):
            assert (refused.status, refused.body["type"]) == (503, "/problems/storage-damaged")
            assert "operator" in refused.body["detail"]
            assert str(tmp_path) not in str(refused.body)
        assert [each["order_id"] for each in client.ask("GET", "/orders").body["orders"]] == [1]
        assert client.ask("GET", "/metrics").status == 200
        assert server.stop() == 0
        for work in ("reads", "writes"):
            [line] = [line for line in server.log.splitlines() if f"ERROR {work} of the database fail" in line]
            assert line.endswith(f"SQLITE_CORRUPT); to check the file: python server.py --database {path} --check")


def test_a_damaged_order_is_refused_and_the_others_are_processed(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    # Nothing listens at this address, so the orders wait for a retry.
    webhook = ("--processor", "webhook", "--webhook-url", "http://127.0.0.1:1", "--webhook-secret", "c2VjcmV0" * 4)
    with ServerProcess(path, *webhook) as server:
        for order_id in range(1, 6):
            assert server.post(order(order_id)).status == 202
        server.kill()
    change_row(path, 3, "item_ids", "'[1,'")
    with ServerProcess(path) as server, server.client() as client:
        for order_id in (1, 2, 4, 5):
            assert client.ask("GET", f"/order/{order_id}?wait=30").body["status"] == "Completed"
        damaged = client.ask("GET", "/order/3")
        assert (damaged.status, damaged.body["type"]) == (503, "/problems/storage-damaged")
        assert client.ask("GET", "/readyz").status == 200
        assert server.stop() == 0
    assert server.log.count("order 3 can't be read or written") == 1


def test_an_order_waits_for_a_lock_of_another_program_and_reads_do_not(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as waiting, server.client() as reading:
        assert reading.post(order(1)).status == 202
        assert_all_completed(server, [1])
        other = sqlite3.connect(server.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting.send_order(order(2))
        assert not select.select([waiting.sock], [], [], 0.5)[0]
        assert reading.ask("GET", "/order/1").status == 200
        other.execute("COMMIT")
        other.close()
        assert waiting.answer().status == 202


def test_a_lock_held_beyond_the_deadline_is_a_503_with_retry_after(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as client, server.client() as later:
        other = sqlite3.connect(server.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        client.send_order(order(1))
        assert not select.select([client.sock], [], [], 0.3)[0]
        # This order is in a later commit than the first order, but it waits for the same lock.
        later.send_order(order(2))
        for each in (client, later):
            refused = each.answer()
            # The second order does not wait for the deadline a second time.
            assert 9.5 <= time.monotonic() - begun < 2 * 9.5
            assert refused.status == 503
            assert refused.body["type"] == "/problems/storage-busy"
            assert int(refused.headers["Retry-After"]) >= 1
        assert client.ask("GET", "/readyz").status == 503
        other.execute("COMMIT")
        other.close()
        assert client.ask("GET", "/readyz").status == 200
        assert client.post(order(1)).status == 202


def test_no_order_is_accepted_while_the_file_is_removed_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server, server.client() as client:
        assert client.post(order(1)).status == 202
        assert_all_completed(server, [1])
        kept = path.rename(tmp_path / "kept.db")
        assert client.post(order(2)).status == 503
        path.touch()
        assert client.post(order(2)).status == 503
        assert client.ask("GET", "/readyz").status == 503
        kept.rename(path)
        assert client.ask("GET", "/readyz").status == 200
        assert client.post(order(2)).status == 202
        assert_all_completed(server, [1, 2])
        assert server.stop() == 0
    for line in (
        f"WARNING writes of the database fail: {path} was moved, removed or replaced. Put the same file back (SQLITE_",
        "WARNING processing stopped until writes of the database work again (SQLITE_READONLY_DBMOVED)",
        "INFO processing continues",
    ):
        assert server.log.count(line) == 1


def test_no_order_is_accepted_while_the_write_ahead_log_is_removed(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as client:
        assert client.post(order(1)).status == 202
        assert_all_completed(server, [1])
        kept = (tmp_path / "orders.db-wal").rename(tmp_path / "kept")
        assert client.post(order(2)).status == 503
        assert client.ask("GET", "/readyz").status == 503
        kept.rename(tmp_path / "orders.db-wal")
        assert client.post(order(2)).status == 202
        server.kill()
    with ServerProcess(tmp_path / "orders.db") as server:
        assert_all_completed(server, [1, 2])


def test_a_stop_saves_the_orders_in_a_removed_write_ahead_log(tmp_path: Path) -> None:
    path, wal = tmp_path / "orders.db", tmp_path / "orders.db-wal"
    with ServerProcess(path) as server, server.client() as client:
        assert client.post(order(1)).status == 202
        assert_all_completed(server, [1])
        wal.unlink()
        assert client.post(order(2)).status == 503
        assert server.stop() == 0
    assert f"{wal} was moved, removed or replaced. Stop the server with SIGTERM, which saves all" in server.log
    with ServerProcess(path) as server:
        assert_all_completed(server, [1])


def test_no_order_is_accepted_after_the_write_ahead_log_was_truncated(tmp_path: Path) -> None:
    path, wal = tmp_path / "orders.db", tmp_path / "orders.db-wal"
    with ServerProcess(path) as server, server.client() as client:
        assert [client.post(order(number)).status for number in range(1, 31)] == [202] * 30
        assert_all_completed(server, range(1, 31))
        wait_until(lambda: wal.stat().st_size == 0)
        assert [client.post(order(number)).status for number in range(31, 34)] == [202] * 3
        os.truncate(wal, 0)
        assert [client.post(order(number)).status for number in range(34, 40)] == [503] * 6
        for request in ("/readyz", "/order/31"):
            refused = client.ask("GET", request)
            assert (refused.status, refused.body["type"]) == (503, "/problems/storage-damaged")
        before = path.read_bytes()
        assert server.stop() == 0
    assert path.read_bytes() == before
    [line] = [line for line in server.log.splitlines() if " ERROR writes of the database fail: " in line]
    assert f"another program truncated or overwrote {wal}: " in line
    assert "with up to 3 orders" in line
    assert "--check" not in line
    with ServerProcess(path) as server:
        assert_all_completed(server, range(1, 31))
        assert server.get("/metrics").body["total_orders"] == 30


def test_a_server_without_requests_moves_its_orders_to_the_database_file(tmp_path: Path) -> None:
    path, wal = tmp_path / "orders.db", tmp_path / "orders.db-wal"
    with ServerProcess(path) as server, server.client() as client:
        for last in (20, 40):
            assert [client.post(order(number)).status for number in range(last - 19, last + 1)] == [202] * 20
            assert wal.stat().st_size > 0
            wait_until(lambda: wal.stat().st_size == 0)
            (tmp_path / "copy.db").write_bytes(path.read_bytes())
            with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
                assert copy.execute("SELECT count(*) FROM orders").fetchone() == (last,)


def test_a_stop_moves_all_orders_to_the_database_file_while_another_program_reads(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server, server.client() as client:
        assert client.post(order(1)).status == 202
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("SELECT count(*) FROM orders").fetchone()
            assert client.post(order(2)).status == 202
            assert server.stop() == 0
            (tmp_path / "copy.db").write_bytes(path.read_bytes())
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM orders").fetchone() == (2,)


def test_a_backup_copied_over_the_file_of_a_killed_server_is_not_mixed_with_its_log(tmp_path: Path) -> None:
    path, wal = tmp_path / "orders.db", tmp_path / "orders.db-wal"
    with ServerProcess(path) as server, server.client() as client:
        assert client.post(order(1)).status == 202
        assert server.stop() == 0
    backup = path.read_bytes()
    with ServerProcess(path) as server, server.client() as client:
        assert [client.post(order(number)).status for number in range(2, 22)] == [202] * 20
        wait_until(lambda: wal.stat().st_size == 0)
        assert client.post(order(22)).status == 202
        server.kill()
    killed = path.read_bytes()
    path.write_bytes(backup)
    status, stdout, stderr = run_server("--port", "0", "--database", str(path))
    assert (status, stdout) == (1, "")
    assert re.fullmatch(rf"server\.py: {wal} does not belong to {path}, [^\n]+ move {wal} to another folder\n", stderr)
    moved = wal.rename(tmp_path / "moved")
    with ServerProcess(path) as server:
        assert_all_completed(server, [1])
        assert server.get("/metrics").body["total_orders"] == 1
    path.write_bytes(killed)
    moved.rename(wal)
    with ServerProcess(path) as server:
        assert_all_completed(server, range(1, 23))


def test_single_orders_are_accepted_with_max_intake_1(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", "--max-intake", "1") as server, server.client() as client:
        assert [client.post(order(number)).status for number in range(1, 101)] == [202] * 100
        assert_all_completed(server, range(1, 101))


def test_the_write_ahead_log_is_synced_before_the_202(tmp_path: Path) -> None:
    need("strace")
    trace = tmp_path / "trace"
    calls = "fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg"
    strace = ["strace", "-f", "-y", "-s", "64", "-e", f"trace={calls}", "-o", str(trace)]
    with ServerProcess(tmp_path / "orders.db", before=strace) as server:
        assert server.post(order(1)).status == 202
        assert server.stop() == 0
    events = list(finished_calls(trace.read_text()))
    answered = next(index for index, call in enumerate(events) if "HTTP/1.1 202" in call)
    before = events[:answered]
    synced = last_index(before, r"^f(data)?sync\(\d+<[^>]*orders\.db-wal>\) += 0")
    written = last_index(before, r"^pwrite64\(\d+<[^>]*orders\.db-wal>")
    assert written < synced < answered


def finished_calls(trace: str) -> list[str]:
    """The system calls, sorted by their ends. strace splits a call into two lines if another call begins meanwhile."""
    begun: dict[str, str] = {}
    calls = []
    for line in trace.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
        elif resumed := re.match(r"<\.\.\. \w+ resumed>", call):
            calls.append(begun.pop(thread) + call[resumed.end() :])
        else:
            calls.append(call)
    return calls


def last_index(calls: list[str], pattern: str) -> int:
    found = [index for index, call in enumerate(calls) if re.match(pattern, call)]
    assert found, f"no call matches {pattern}"
    return found[-1]


def test_no_acknowledged_order_is_lost_if_the_disk_fills_up_under_load(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as client:
        acknowledged = []
        limit_file_size(server.pid, 256 * 1024)
        deadline = time.monotonic() + DEADLINE_S
        for order_id in range(1, 1_000_000):
            answer = client.post(order(order_id) | {"item_ids": list(range(1, 1_001))})
            if answer.status != 202:
                break
            acknowledged.append(order_id)
            assert time.monotonic() < deadline
        assert answer.status == 503
        limit_file_size(server.pid, resource.RLIM_INFINITY)
        for order_id in acknowledged:
            assert client.ask("GET", f"/order/{order_id}").body["order_id"] == order_id
        assert client.post(order(2_000_000)).status == 202
