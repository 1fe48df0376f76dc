"""`--backup`, `--restore` and `--check` as commands, beside real servers, with kills, signals and full disks."""

import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.live_orders import assert_all_completed
from tests.models.damage import damage_root
from tests.models.sqlite.stored_shop import StoredShop, contents, orders_in
from tests.process import (
    DEADLINE_S,
    HANGS_AFTER_S,
    ROOT,
    PostingClients,
    ServerProcess,
    need,
    order,
    run_server,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]

SMALL_FILES = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
os.execv(sys.argv[1], sys.argv[1:])"""
"""Runs a command in which no file can be longer than two pages, as on a full disk."""


def command(*flags: str | Path) -> list[str]:
    return [sys.executable, "server.py", *map(str, flags)]


def ids_in(path: Path) -> set[int]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return {order_id for (order_id,) in connection.execute("SELECT order_id FROM orders")}


def test_a_backup_beside_a_busy_server_has_every_order_acknowledged_before_and_can_be_restored(tmp_path: Path) -> None:
    path, backup = tmp_path / "orders.db", tmp_path / "backup.db"
    with ServerProcess(path) as server:
        clients = PostingClients(server.port, first_id=1)
        assert clients.enough.wait(DEADLINE_S)
        before = set(clients.acknowledged)
        status, stdout, stderr = run_server("--database", str(path), "--backup", str(backup))
        clients.join()
        assert (status, stderr) == (0, "")
        assert re.fullmatch(
            rf"{backup}: [0-9,]+ orders, the newest accepted at \S+ \S+ UTC; [0-9,]+ bytes, copied in \S+ s,"
            r" checked in \S+ s\n",
            stdout,
        )
        assert clients.refused == []
        # A server must not run during a restore. A check can run at any time.
        status, stdout, stderr = run_server("--database", str(path), "--restore", str(backup))
        assert (status, stdout) == (1, "")
        assert stderr == f"server.py: {path} is in use by another server, process {server.pid}\n"
        assert run_server("--database", str(path), "--check") == (0, f"{path}: no errors found\n", "")
        status, stdout, stderr = run_server("--database", str(path), "--check", "--repair")
        assert (status, stdout) == (1, "")
        assert "in use by another server" in stderr
        server.kill()
    assert before <= ids_in(backup) <= clients.acknowledged | {max(clients.acknowledged) + n for n in range(1, 17)}
    status, stdout, stderr = run_server("--database", str(path), "--restore", str(backup))
    assert (status, stderr) == (0, "")
    assert "Orders that were accepted after the backup was made are missing: send them again." in stdout
    in_backup = ids_in(backup)
    with ServerProcess(path) as server:
        assert_all_completed(server, sorted(in_backup))
        assert server.get("/metrics").body["total_orders"] == len(in_backup)
        assert server.post(order(10**9)).status == 202
        assert server.stop() == 0
    assert run_server("--database", str(path), "--check") == (0, f"{path}: no errors found\n", "")
    # The old database, with its WAL, has all orders of the killed server.
    [old] = [file for file in tmp_path.iterdir() if re.fullmatch(r"orders\.db\.old-[0-9]+-[0-9]+", file.name)]
    assert clients.acknowledged <= {each.order_id for each in orders_in(old)}


def test_a_backup_can_be_used_as_a_database(tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.post(order(1)).status == 202
        assert_all_completed(server, [1])
        assert run_server("--database", str(server.database), "--backup", str(backup))[0] == 0
    with ServerProcess(backup) as server:
        assert_all_completed(server, [1])
        assert server.post(order(2)).status == 202


def test_a_restore_that_is_killed_at_any_step_leaves_the_old_or_the_restored_database(tmp_path: Path) -> None:
    need("strace")
    (tmp_path / "backup").mkdir()
    (tmp_path / "shop").mkdir()
    backup = tmp_path / "backup" / "backup.db"
    shop = StoredShop(tmp_path / "shop" / "orders.db")
    in_backup = shop.orders()
    with closing(sqlite3.connect(backup)) as copy, closing(sqlite3.connect(shop.path)) as source:
        source.backup(copy)
    shop.insert(5)
    latest = shop.orders()
    shop.kill()
    files = contents(shop.path.parent)
    restore = command("--database", shop.path, "--restore", backup)
    outcomes: list[bool] = []
    for call in ("rename", "fsync", "fdatasync", "chmod", "utimensat"):
        for number in range(1, 100):
            for file in shop.path.parent.iterdir():
                file.unlink()
            for name, content in files.items():
                shop.path.with_name(name).write_bytes(content)
            done = subprocess.run(
                ["strace", "-f", "-qq", "-o", "/dev/null",
                 "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}", *restore],
                cwd=ROOT, capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False,
            )  # fmt: skip
            if done.returncode == 0:
                break
            assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
            found = orders_in(shop.path)
            assert found in (latest, in_backup)
            outcomes.append(found == in_backup)
            old = [file for file in shop.path.parent.iterdir() if re.fullmatch(r".*\.old-[0-9]+-[0-9]+", file.name)]
            assert len(old) == (found == in_backup)
            for each in old:
                assert orders_in(each) == latest
    assert {True, False} <= set(outcomes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_backup_and_leaves_no_partial_file(tmp_path: Path, number: signal.Signals) -> None:
    shop = StoredShop(tmp_path / "orders.db", orders=60_000)
    shop.close()
    before = contents(tmp_path)
    with subprocess.Popen(
        command("--database", shop.path, "--backup", tmp_path / "backup.db"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        incomplete = tmp_path / "backup.db.incomplete"
        wait_until(lambda: incomplete.stat().st_size > 0)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=HANGS_AFTER_S)
    assert (process.returncode, stdout, stderr) == (128 + number, "", "interrupted: run the same command again\n")
    assert contents(tmp_path) == before


def run_on_full_disk(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SMALL_FILES, *command(*flags)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )


def test_a_repair_on_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    shop = StoredShop(tmp_path / "orders.db")
    shop.close()
    with closing(sqlite3.connect(shop.path)) as connection, connection:
        connection.execute("UPDATE totals SET completed = 7")
    before = contents(tmp_path)
    done = run_on_full_disk("--database", shop.path, "--check", "--repair")
    assert (done.returncode, done.stdout) == (1, f"{shop.path}: totals has completed 7, counted 1\n")
    assert re.fullmatch(r"server\.py: \S+ was not changed: disk I/O error\n", done.stderr)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("flag", ["--backup", "--restore"])
def test_a_full_disk_is_one_line_and_leaves_no_partial_file(tmp_path: Path, flag: str) -> None:
    (tmp_path / "target").mkdir()
    shop = StoredShop(tmp_path / "orders.db")
    shop.close()
    target = tmp_path / "target" / "copy.db"
    source, database = (shop.path, target) if flag == "--restore" else (target, shop.path)
    done = run_on_full_disk("--database", database, flag, source)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"server\.py: \S+ can't be copied to \S+: [^\n]*\n", done.stderr)
    assert contents(tmp_path / "target") == {}


def test_a_check_reports_each_error_in_a_line_and_a_repair_corrects_them(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server, server.client() as client:
        assert [client.post(order(number)).status for number in range(1, 21)] == [202] * 20
        assert_all_completed(server, range(1, 21))
        assert server.stop() == 0
    damage_root(path, "orders_order_id")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE totals SET completed = 7")
    status, stdout, stderr = run_server("--database", str(path), "--check")
    assert (status, stderr) == (1, "")
    assert re.fullmatch(rf"({path}: integrity_check: [^\n]*\n)+{path}: totals has completed 7, counted 20\n", stdout)
    status, repaired, stderr = run_server("--database", str(path), "--check", "--repair")
    assert (status, stderr) == (0, "")
    assert repaired.startswith(f"{stdout}repaired {path}: 20 orders, ")
    with ServerProcess(path) as server, server.client() as client:
        assert_all_completed(server, range(1, 21))
        assert client.post(order(21)).status == 202
        assert server.get("/metrics").body["total_orders"] == 21


def test_a_terminal_shows_a_progress_bar(tmp_path: Path) -> None:
    shop = StoredShop(tmp_path / "orders.db")
    shop.close()
    main, terminal = pty.openpty()
    done = subprocess.run(
        command("--database", shop.path, "--backup", tmp_path / "backup.db"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm"},
        timeout=HANGS_AFTER_S,
        check=True,
    )
    os.close(terminal)
    shown = b""
    while chunk := _read(main):
        shown += chunk
    os.close(main)
    assert b"Copying" in shown
    assert b"Checking" in shown
    assert done.stdout.startswith(str(tmp_path / "backup.db").encode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # all output has been read
        return b""
