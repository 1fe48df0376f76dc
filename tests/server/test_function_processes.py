"""A user's function starts processes: what they inherit from the server, and what a signal to a process does."""

from pathlib import Path

import pytest

from tests.live_orders import wait_for_status
from tests.process import is_on_postgresql, order
from tests.user_module import UserModule

pytestmark = pytest.mark.slow

SETUP = """
    import gc
    import multiprocessing
    import sys

    def open_files():
        names = []
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            except FileNotFoundError:
                pass
        return sorted(set(names))

    def run(target, order, method="fork"):
        process = multiprocessing.get_context(method).Process(target=target, args=(order,))
        process.start()
        process.join()
        return process.exitcode
"""
OUTLIVES = """
    def outlive(order):
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        gc.collect()
        (HERE / "open").write_text("\\n".join(open_files()))
        tell(order)
        wait_at_gate()
"""


def test_a_forked_child_keeps_no_port_connection_or_lock_of_a_killed_server(tmp_path: Path) -> None:
    body = "if order.order_id == 1: run(outlive, order)"
    with UserModule(tmp_path, body, setup=SETUP + OUTLIVES) as shop:
        with shop.server() as server, server.client() as client:
            assert client.post(order(1)).status == 202
            assert shop.call().order_id == 1
            port = server.port
            server.kill()
            assert client.sock.recv(1) == b""
        with shop.server("--port", str(port)) as server:
            assert server.port == port
            assert server.post(order(2)).status == 202
            wait_for_status(server, 2, "Completed")
            shop.open_gate()
    inherited = (tmp_path / "open").read_text().splitlines()
    # Only the pair of sockets that wakes the event loop, and no connection of a client or of PostgreSQL.
    assert len([name for name in inherited if name.startswith("socket:")]) == 2
    if is_on_postgresql():
        return
    # The connections of SQLite must stay open: closing one in the child could change the database.
    assert {Path(name).name for name in inherited if name.startswith(str(tmp_path / "orders.db"))} == {
        "orders.db",
        "orders.db-shm",
        "orders.db-wal",
    }


def test_a_signal_to_a_forked_child_does_not_reach_the_server(tmp_path: Path) -> None:
    setup = """
    def signal_itself(order):
        if order.order_id == 3:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        os.kill(os.getpid(), signal.SIGINT if order.order_id == 2 else signal.SIGTERM)
    """
    body = 'raise Rejected(f"exit code {run(signal_itself, order)}")'
    with UserModule(tmp_path, body, setup=SETUP + setup) as shop, shop.server() as server:
        for order_id, code in ((1, "-15"), (2, "-2"), (3, "7")):
            assert server.post(order(order_id)).status == 202
            assert wait_for_status(server, order_id, "Failed")["error"] == f"exit code {code}"
        assert server.get("/readyz").status == 200
        assert "stopping" not in server.log
        assert server.stop() == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_a_function_ends_normally_and_starts_no_server(tmp_path: Path, method: str) -> None:
    body = f"""
        raise Rejected(f"exit code {{run(tell, order, {method!r})}}")
    """
    with UserModule(tmp_path, body, setup=SETUP) as shop, shop.server() as server:
        assert server.post(order(1)).status == 202
        assert shop.call().order_id == 1
        assert wait_for_status(server, 1, "Failed")["error"] == "exit code 0"
        assert server.log.count("listening on") == 1
        assert server.stop() == 0


def test_a_program_started_by_a_function_inherits_no_files(tmp_path: Path) -> None:
    body = """
        import subprocess
        program = "import os; print([os.readlink(f'/dev/fd/{n}') for n in os.listdir('/dev/fd') if int(n) > 3])"
        raise Rejected(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout)
    """
    with UserModule(tmp_path, body, setup=SETUP) as shop, shop.server() as server:
        assert server.post(order(1)).status == 202
        assert wait_for_status(server, 1, "Failed")["error"] == "[]"
