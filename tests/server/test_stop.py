"""SIGTERM, SIGINT and SIGKILL to a real server under load, and the orders that it has after a restart."""

import random
import select
import signal
import time
from pathlib import Path

import pytest

from tests.live_orders import assert_all_completed
from tests.process import DEADLINE_S, PostingClients, ServerProcess, is_on_postgresql, order, run_server, wait_until
from tests.storage_faults import locked_database

ROUNDS = 10


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stop_under_load_ends_with_status_0_and_loses_no_order(tmp_path: Path, number: signal.Signals) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        clients = PostingClients(server.port, first_id=1)
        assert clients.enough.wait(DEADLINE_S)
        server.signal(number)
        assert server.wait() == 0
        clients.join()
        assert not clients.refused
        assert "Traceback" not in server.log
    assert [path.name for path in tmp_path.iterdir()] == ([] if is_on_postgresql() else ["orders.db"])
    with ServerProcess(tmp_path / "orders.db") as server:
        assert "attempts that were interrupted" not in server.log
        assert_all_completed(server, clients.acknowledged)


@pytest.mark.slow
def test_a_stop_answers_requests_in_flight_and_accepts_no_new_connection(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as waiting, server.client() as probe:
        assert probe.ask("GET", "/readyz").status == 200
        with locked_database(server):
            waiting.send_order(order(1))
            assert not select.select([waiting.sock], [], [], 0.2)[0]
            server.signal(signal.SIGTERM)
            wait_until_refusing(server)
            ready = probe.ask("GET", "/readyz")
            assert ready.status == 503
            assert ready.body["type"] == "/problems/stopping"
            assert ready.headers["Connection"] == "close"
        answer = waiting.answer()
        assert answer.status == 202
        assert answer.headers["Connection"] == "close"
        assert server.wait() == 0
    with ServerProcess(tmp_path / "orders.db") as server:
        assert_all_completed(server, [1])


def wait_until_refusing(server: ServerProcess) -> None:
    """Waits until the server accepts no new connection."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with server.client() as client:
            try:
                client.connect()
            except (ConnectionRefusedError, ConnectionResetError):  # reset: the connection was in the listen queue
                return
    raise AssertionError("the server still accepts connections")


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "orders.db") as server,
        server.client() as waiting,
        locked_database(server),
    ):
        waiting.send_order(order(1))
        assert not select.select([waiting.sock], [], [], 0.2)[0]
        server.signal(signal.SIGTERM)
        wait_until_refusing(server)
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM


def is_stopping(server: ServerProcess) -> bool:
    ready = server.get("/readyz")
    return (ready.status, ready.body.get("type")) == (503, "/problems/stopping")


@pytest.mark.slow
def test_requests_are_served_during_the_stop_delay_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", "--stop-delay", "86400") as server, server.client() as kept:
        assert kept.post(order(1)).status == 202
        server.signal(signal.SIGTERM)
        wait_until(lambda: is_stopping(server))
        assert server.get("/livez").status == 200
        new = server.post(order(2))
        assert (new.status, new.headers["Connection"]) == (202, None)
        waited = kept.ask("GET", "/order/2?wait=30")
        assert (waited.body["status"], waited.headers["Connection"]) == ("Completed", None)
        metrics = kept.ask("GET", "/metrics")
        assert (metrics.status, metrics.headers["Connection"]) == (200, None)
        ready = kept.ask("GET", "/readyz")
        assert (ready.status, ready.headers["Connection"], ready.headers["Retry-After"]) == (503, None, "1")
        server.signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
    with ServerProcess(tmp_path / "orders.db") as server:
        assert_all_completed(server, [1, 2])


@pytest.mark.slow
def test_the_server_stops_after_the_stop_delay_without_a_second_signal(tmp_path: Path) -> None:
    delay_s = 0.5
    with ServerProcess(tmp_path / "orders.db", "--stop-delay", str(delay_s)) as server:
        began_s = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began_s >= delay_s
    _, *lines = server.log.splitlines()
    assert [line.partition(" INFO ")[2] for line in lines] == [
        "requests are still served for 0.5 s, while /readyz responds with 503",
        "stopping",
        "stopped",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["peewee", "user_functions"])
def test_ctrl_c_during_the_start_ends_the_process_at_once_without_output(module: str, tmp_path: Path) -> None:
    # Python finds this module before a package of the same name.
    (tmp_path / f"{module}.py").write_text("import signal\n\nsignal.raise_signal(signal.SIGINT)\n")
    flags = ["--port", "0", "--database", str(tmp_path / "orders.db"), "--processor", "user_functions:process"]
    assert run_server(*flags, environment={"PYTHONPATH": str(tmp_path)}) == (-signal.SIGINT, "", "")


@pytest.mark.slow
def test_kill_9_under_load_loses_no_order_and_leaves_none_in_processing(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: set[int] = set()
    for number in range(ROUNDS):
        with ServerProcess(tmp_path / "orders.db") as server:
            clients = PostingClients(server.port, first_id=1 + number * 10_000_000)
            assert clients.enough.wait(DEADLINE_S)
            server.assert_alive_for(chance.uniform(0.0, 0.3))
            server.kill()
            clients.join()
            assert not clients.refused
            acknowledged |= clients.acknowledged
    with ServerProcess(tmp_path / "orders.db") as server:
        assert_all_completed(server, acknowledged)
    assert len(acknowledged) >= ROUNDS * 200
    print(f"{ROUNDS} kills, {len(acknowledged)} orders acknowledged, 0 missing, 0 not Completed")
