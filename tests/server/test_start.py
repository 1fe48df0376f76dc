"""Starting a real server: flags, environment, rejected files, a second server, limits on open files."""

import contextlib
import hashlib
import http.client
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from handlers.transport.sockets import SPARE_FILES, SPARE_FILES_WITHOUT_UVLOOP
from server import parse_settings
from tests.process import (
    DEADLINE_S,
    ROOT,
    Client,
    ServerProcess,
    free_port,
    limit_file_size,
    need,
    order,
    run_server,
    wait_until,
    with_open_files,
)

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]


def fingerprint(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def assert_refused(folder: Path, *flags: str, saying: str) -> None:
    before = fingerprint(folder)
    status, stdout, stderr = run_server("--port", "0", *flags)
    assert (status, stdout) == (1, "")
    assert re.fullmatch(r"server\.py: [^\n]+\n", stderr), stderr
    assert saying in stderr
    assert fingerprint(folder) == before


def test_the_first_start_creates_the_file_and_the_next_finds_its_orders(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.post(order(1)).status == 202
        assert server.stop() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["orders.db"]
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.get("/order/1").body["order_id"] == 1


def test_the_error_of_a_second_server_on_a_file_has_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server:
        status, _, stderr = run_server("--port", "0", "--database", str(path))
        assert status == 1
        assert stderr == f"server.py: {path} is in use by another server, process {server.pid}\n"
        assert server.post(order(1)).status == 202


def test_a_second_server_is_refused_through_a_hard_link(tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.post(order(1)).status == 202
        (tmp_path / "linked" / "other.db").hardlink_to(tmp_path / "orders.db")
        other = str(tmp_path / "linked" / "other.db")
        # The server is paused, so that it does not write to its own file meanwhile.
        server.signal(signal.SIGSTOP)
        assert_refused(
            tmp_path / "linked", "--database", other, saying=f"in use by another server, process {server.pid}"
        )
        server.signal(signal.SIGCONT)
        assert server.post(order(2)).status == 202
        assert server.stop() == 0
    assert [path.name for path in (tmp_path / "linked").iterdir()] == ["other.db"]
    with ServerProcess(tmp_path / "linked" / "other.db") as server:
        assert server.get("/metrics").body["total_orders"] == 2


def test_a_second_server_is_refused_through_a_bind_mount_of_the_file(tmp_path: Path) -> None:
    other = tmp_path / "mounted" / "other.db"
    other.parent.mkdir()
    other.touch()
    with ServerProcess(tmp_path / "orders.db") as server:
        mount = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && exec "$2" server.py --database "$1"']
        command = [*mount, str(tmp_path / "orders.db"), str(other), sys.executable]
        need("unshare")
        if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
            pytest.skip("this user can't mount")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 1
        assert done.stderr == f"server.py: {other} is in use by another server, process {server.pid}\n"
    assert [path.name for path in other.parent.iterdir()] == ["other.db"]


def test_a_second_server_is_refused_after_the_lock_file_was_removed(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        (tmp_path / "orders.db.lock").unlink()
        status, _, stderr = run_server("--port", "0", "--database", str(tmp_path / "orders.db"))
        assert status == 1
        assert f"process {server.pid}" in stderr
        # The lock file of a server that was started by another path of the file, for example.
        (tmp_path / "orders.db.lock").write_text("4711\n")
        assert server.stop() == 0
    assert (tmp_path / "orders.db.lock").read_text() == "4711\n"


def test_a_second_server_is_refused_through_a_symbolic_link(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "orders.db")
    with ServerProcess(tmp_path / "orders.db") as server:
        status, _, stderr = run_server("--port", "0", "--database", str(link))
        assert status == 1
        assert f"process {server.pid}" in stderr


def test_a_killed_server_leaves_no_lock(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        server.kill()
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.get("/livez").status == 200


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    path.write_text("Dear diary, today I sold a hat.\n" * 100)
    assert_refused(tmp_path, "--database", str(path), saying="is not an SQLite database")


def test_a_newer_schema_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server:
        server.stop()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert_refused(tmp_path, "--database", str(path), saying="schema version 99")


def test_another_programs_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (name)")
    connection.close()
    assert_refused(tmp_path, "--database", str(path), saying="another program's database")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "--database", str(tmp_path / "nowhere" / "orders.db"), saying="does not exist")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orders.db").mkdir()
    status, _, stderr = run_server("--port", "0", "--database", str(tmp_path / "orders.db"))
    assert status == 1
    assert re.fullmatch(r"server\.py: .*is not a regular file\n", stderr)


def test_a_read_only_folder_is_refused() -> None:
    # Not even root can create files in /proc.
    status, stdout, stderr = run_server("--port", "0", "--database", "/proc/orders.db")
    assert (status, stdout) == (1, "")
    assert re.fullmatch(r"server\.py: /proc/orders\.db can't be opened: [^\n]+\n", stderr)


def test_a_port_in_use_is_refused_and_no_file_is_created(tmp_path: Path) -> None:
    listener, port = free_port()
    with listener:
        status, _, stderr = run_server("--port", str(port), "--database", str(tmp_path / "orders.db"))
    assert status == 1
    assert stderr == f"server.py: can't listen on 127.0.0.1 port {port}: Address already in use\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flags",
    [
        ["--prot", "8080"],
        ["--por", "8080"],
        ["--port", "http"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--workers", "0"],
        ["--attempt-timeout", "0"],
        ["--attempt-timeout", "nan"],
        ["--max-intake", "0"],
        ["--drain-timeout", "-1"],
        ["--drain-timeout", "nan"],
        ["--stop-delay", "-1"],
        ["--stop-delay", "nan"],
        ["--stop-delay", "soon"],
        ["--processor", "magic"],
        ["--host", ""],
        ["stray"],
    ],
    ids=" ".join,
)
def test_an_unknown_or_bad_flag_ends_with_status_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings(flags, {})
    assert exit_.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ORDERS_PORT", "ORDERS_WORKERS"])
def test_a_bad_value_in_the_environment_ends_with_status_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings([], {name: "many"})
    assert exit_.value.code == 2
    flag = "--" + name.removeprefix("ORDERS_").lower()
    assert f"argument {flag}: must be an integer from " in capsys.readouterr().err


def test_a_bad_processor_in_the_environment_ends_with_status_2() -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings([], {"ORDERS_PROCESSOR": "magic"})
    assert exit_.value.code == 2


def test_a_bad_flag_ends_the_process_with_status_2(tmp_path: Path) -> None:
    status, _, stderr = run_server("--database", str(tmp_path / "orders.db"), "--colour", "red")
    assert status == 2
    assert "--colour" in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_flag_overrides_the_environment() -> None:
    settings = parse_settings(["--workers", "3"], {"ORDERS_WORKERS": "5", "ORDERS_MAX_INTAKE": "7"})
    assert (settings.processing.workers, settings.processing.max_intake, settings.http.port) == (3, 7, 8080)


def test_an_empty_environment_variable_is_ignored() -> None:
    assert parse_settings([], {"ORDERS_PORT": "", "ORDERS_WEBHOOK_URL": "", "ORDERS_HOST": ""}) == parse_settings(
        [], {}
    )


SERVICE_LINKS = {
    "ORDERS_SERVICE_HOST": "10.0.0.1",
    "ORDERS_SERVICE_PORT": "8080",
    "ORDERS_SERVICE_PORT_HTTP": "8080",
    "ORDERS_PORT": "tcp://10.0.0.1:8080",
    "ORDERS_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "ORDERS_PORT_8080_TCP_PROTO": "tcp",
    "ORDERS_PORT_8080_TCP_PORT": "8080",
    "ORDERS_PORT_8080_TCP_ADDR": "10.0.0.1",
}
"""What Kubernetes sets in each container if there is a service named `orders`."""


@pytest.mark.parametrize("link", ["tcp://10.0.0.1:8080", "udp://10.0.0.1:53", "sctp://[fd00::1]:8080"])
def test_the_variables_of_a_kubernetes_service_are_ignored(link: str) -> None:
    assert parse_settings([], SERVICE_LINKS | {"ORDERS_PORT": link}) == parse_settings([], {})


@pytest.mark.parametrize("value", ["80a80", "tcp://", "tcp://10.0.0.1", "http://10.0.0.1:8080", "tcp://10.0.0.1:8080 "])
def test_any_other_bad_port_in_the_environment_ends_with_status_2(value: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings([], {"ORDERS_PORT": value})
    assert exit_.value.code == 2


def test_a_service_link_is_an_error_for_other_flags() -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_settings([], {"ORDERS_WORKERS": "tcp://10.0.0.1:8080"})
    assert exit_.value.code == 2


def test_a_server_in_kubernetes_logs_that_it_ignores_the_address_of_its_service(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", environment=SERVICE_LINKS) as server:
        assert server.log.count(" INFO ignored ORDERS_PORT=tcp://10.0.0.1:8080, which Kubernetes sets ") == 1


def test_the_defaults_are_the_documented_ones() -> None:
    settings = parse_settings([], {})
    groups = (settings.http, settings.processing)
    assert {name: value for group in groups for name, value in msgspec.structs.asdict(group).items()} | {
        "database": settings.database
    } == {
        "port": 8080,
        "host": "127.0.0.1",
        "allowed_hosts": None,
        "database": Path("orders.db"),
        "keep": None,
        "archive": None,
        "workers": 8,
        "attempt_timeout": None,
        "processor": "record",
        "webhook_url": None,
        "webhook_secret": None,
        "webhook_header": (),
        "webhook_timeout": 15.0,
        "webhook_connections": 64,
        "max_attempts": 20,
        "max_intake": 10_000,
        "max_backlog": 1_000_000,
        "drain_timeout": 10.0,
        "api_keys": None,
        "rate_limit": None,
        "tls_cert": None,
        "tls_key": None,
        "access_log": False,
        "log_format": "text",
        "stop_delay": 0.0,
    }


def test_help_and_version_end_with_status_0() -> None:
    status, stdout, _ = run_server("--help")
    assert status == 0
    assert "--drain-timeout" in stdout
    assert "ORDERS_PORT" in stdout
    assert re.fullmatch(r"server\.py \d+\.\d+\.\d+\n", run_server("--version")[1])


def test_every_flag_is_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"], {})
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    readme = (ROOT / "README.md").read_text()
    assert {flag for flag in flags if f"`{flag}" not in readme} == set()


def test_connections_over_the_file_limit_are_rejected_and_others_are_served(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "orders.db", before=with_open_files(60, 60)) as server,
        contextlib.ExitStack() as stack,
    ):
        own_files = server.open_files()
        clients = [stack.enter_context(server.client()) for _ in range(60)]
        served = 0
        for number, client in enumerate(clients, 1):
            with contextlib.suppress(OSError, http.client.HTTPException):
                served += client.post(order(number)).status == 202
        assert served == 60 - own_files - SPARE_FILES
        assert clients[0].ask("GET", "/readyz").status == 200
        for client in clients[1:]:
            client.close()
        assert clients[0].post(order(1_000)).status == 202
        assert server.post(order(1_001)).status == 202
        assert server.stop() == 0
    assert server.log.count("connections are in use") == 1
    assert "Traceback" not in server.log


def status_or_reset(client: Client) -> int | str:
    try:
        return client.answer().status
    except ConnectionResetError:
        return "reset"


@pytest.mark.parametrize("has_uvloop", [True, False])
def test_simultaneous_connections_over_the_file_limit_are_rejected(tmp_path: Path, has_uvloop: bool) -> None:
    if not has_uvloop:
        (tmp_path / "uvloop.py").write_text("raise ImportError")
    with (
        ServerProcess(
            tmp_path / "orders.db", before=with_open_files(80, 80), environment={"PYTHONPATH": str(tmp_path)}
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        room = 80 - server.open_files() - (SPARE_FILES if has_uvloop else SPARE_FILES_WITHOUT_UVLOOP)
        clients = [stack.enter_context(server.client()) for _ in range(200)]
        # The server is paused, so all requests are ready at once when it continues.
        server.signal(signal.SIGSTOP)
        for number, client in enumerate(clients, 1):
            client.send_order(order(number))
        server.signal(signal.SIGCONT)
        statuses = Counter(status_or_reset(client) for client in clients)
        assert statuses[202] == room
        assert statuses[503] + statuses["reset"] == 200 - room
        # One file is spare. While a rejected connection still uses it, uvloop resets the next connections.
        assert statuses["reset"] == 0 or has_uvloop
        assert server.stop() == 0
    assert "Traceback" not in server.log


def test_at_the_file_limit_all_connections_can_be_handed_to_tornado_at_once(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "orders.db", before=with_open_files(80, 80)) as server,
        contextlib.ExitStack() as stack,
    ):
        room = 80 - server.open_files() - SPARE_FILES
        clients = [stack.enter_context(server.client()) for _ in range(room)]
        for number, client in enumerate(clients, 1):
            assert client.post(order(number)).status == 202
        # All requests are ready at once when the server continues. To hand over a connection, it needs another file.
        server.signal(signal.SIGSTOP)
        for client in clients:
            client.request("GET", "/orders")
        server.signal(signal.SIGCONT)
        answers = [client.answer() for client in clients]
        assert [answer.body for answer in answers if answer.status != 200] == [], server.log
        assert server.stop() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("database", ["/dev/null", "fifo"])
def test_a_device_or_pipe_is_refused(tmp_path: Path, database: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    beside = sorted(Path("/dev").glob("null*"))
    status, _, stderr = run_server("--port", "0", "--database", str(tmp_path / database))
    assert (status, stderr) == (1, f"server.py: {tmp_path / database} is not a regular file\n")
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]
    assert sorted(Path("/dev").glob("null*")) == beside


def test_a_full_disk_at_the_start_is_a_one_line_error_and_leaves_no_file(tmp_path: Path) -> None:
    status, _, stderr = run_server(
        "--port", "0", "--database", str(tmp_path / "orders.db"), preexec_fn=lambda: limit_file_size(0, 0)
    )
    assert status == 1
    assert re.fullmatch(r"server\.py: [^\n]+\n", stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_through_a_dangling_link_leaves_only_the_link(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "target.db")
    status, _, stderr = run_server("--port", "0", "--database", str(link), preexec_fn=lambda: limit_file_size(0, 4096))
    assert status == 1
    assert re.fullmatch(r"server\.py: [^\n]+\n", stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["link.db"]


def test_the_error_for_a_damaged_database_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server:
        server.stop()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE orders")
    connection.close()
    assert_refused(tmp_path, "--database", str(path), saying=f"{path}: no such table: orders")


def test_a_server_runs_with_closed_standard_streams(tmp_path: Path) -> None:
    listener, port = free_port()
    listener.close()
    command = f'exec "{sys.executable}" server.py --port {port} --database "{tmp_path}/orders.db" 0<&- 1>&- 2>&-'
    process = subprocess.Popen(["bash", "-c", command], cwd=ROOT)
    try:
        with contextlib.closing(Client(port)) as client:
            wait_until(lambda: client.ask("GET", "/livez").status == 200)
            assert client.post(order(1)).status == 202
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait(DEADLINE_S)


def test_a_database_in_memory_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "--database", ":memory:", saying="orders in memory would be lost")


def test_a_lock_held_at_the_start_is_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server:
        server.stop()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    status, _, stderr = run_server("--port", "0", "--database", str(path))
    other.close()
    assert status == 1
    assert re.fullmatch(r"server\.py: [^\n]*locked[^\n]*\n", stderr), stderr


def test_the_soft_limit_on_open_files_is_raised_to_the_hard_limit(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", before=with_open_files(100, 5000)) as server:
        limits = Path(f"/proc/{server.pid}/limits").read_text()
    assert re.search(r"Max open files +5000 +5000 ", limits)
