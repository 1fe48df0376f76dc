"""A real server that processes orders with a user's function: outcomes, threads, stops, kills and retries."""

import signal
import statistics
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live_orders import assert_counts, connect_to, post_all, wait_for_status, wait_until_processed
from tests.models.blocks import fill_blocks
from tests.process import DEADLINE_S, Client, is_on_postgresql, order
from tests.user_module import UserModule

pytestmark = pytest.mark.slow

WAITING_RETRIES = 100_000


@pytest.mark.parametrize(("orders", "max_attempts"), [(2_000, 1), (2_000, 2)])
def test_the_last_attempt_decides_how_an_order_ends(tmp_path: Path, orders: int, max_attempts: int) -> None:
    body = """
        if order.order_id % 11 == 0:
            raise Rejected(f"{order.order_id} is out of stock")
        if order.order_id % 7 == 0 and (order.order_id % 2 or order.attempt == 1):
            raise ValueError(f"{order.order_id} went wrong")
    """
    expected: dict[int, tuple[str, int, str | None]] = {}
    for order_id in range(1, orders + 1):
        if order_id % 11 == 0:
            expected[order_id] = ("Failed", 1, f"{order_id} is out of stock")
        elif order_id % 7 == 0 and (order_id % 2 or max_attempts == 1):
            expected[order_id] = ("Failed", max_attempts, f"ValueError: {order_id} went wrong")
        else:
            expected[order_id] = ("Completed", 2 if order_id % 7 == 0 else 1, None)
    with UserModule(tmp_path, body) as shop, shop.server("--max-attempts", str(max_attempts)) as server:
        post_all(server, range(1, orders + 1))
        wait_until_processed(server)
        assert_counts(server, **Counter(status for status, _, _ in expected.values()))
        with connect_to(server.database) as connection:
            rows = connection.execute("SELECT order_id, status, attempts, error FROM orders").fetchall()
        assert {order_id: rest for order_id, *rest in rows} == {key: list(value) for key, value in expected.items()}
        shown = server.get("/order/77").body
        assert (shown["status"], shown["attempts"], shown["error"]) == ("Failed", 1, "77 is out of stock")
        assert shown["processed_time"] is not None


def test_a_free_thread_gets_the_next_order_while_all_others_work(tmp_path: Path) -> None:
    orders, threads = 1_000, 8
    setup = """
        from threading import Condition

        begun = 0
        changed = Condition()
    """
    # A call ends only after seven later calls have begun, so all eight threads are in calls when one of them ends. If
    # this thread did not get another order at once, no other call could end.
    body = f"""
        global begun
        with changed:
            begun += 1
            needed = min(begun + {threads - 1}, {orders})
            changed.notify_all()
            if not changed.wait_for(lambda: begun >= needed, {DEADLINE_S}):
                raise Rejected("a thread got no order")
    """
    with (
        UserModule(tmp_path, body, setup=setup) as shop,
        shop.server("--workers", str(threads), "--max-attempts", "1") as server,
    ):
        post_all(server, range(1, orders + 1))
        wait_until_processed(server)
        assert_counts(server, Completed=orders)


def test_a_slow_order_delays_no_order_of_another_thread(tmp_path: Path) -> None:
    with (
        UserModule(tmp_path, "tell(order)\nif order.order_id == 1: wait_at_gate()") as shop,
        shop.server("--workers", "2") as server,
    ):
        assert server.post(order(1)).status == 202
        assert shop.call().order_id == 1
        post_all(server, range(2, 52))
        for order_id in range(2, 52):
            wait_for_status(server, order_id, "Completed")
        assert server.get("/order/1").body["status"] == "Processing"
        assert_counts(server, Processing=1, Completed=50)
        shop.open_gate()
        assert wait_for_status(server, 1, "Completed")["attempts"] == 1
        assert_counts(server, Completed=51)


def test_an_order_is_failed_if_each_of_its_attempts_kills_the_process(tmp_path: Path) -> None:
    with UserModule(tmp_path, "if order.order_id == 5: tell(order); os.kill(os.getpid(), signal.SIGKILL)") as shop:
        for attempt in range(1, 4):
            with shop.server("--max-attempts", "3") as server, server.client() as client:
                post_all(server, range(attempt * 100, attempt * 100 + 50))
                if attempt == 1:
                    client.send_order(order(5))
                assert shop.call()[:2] == (5, attempt)
                assert server.wait() == -signal.SIGKILL
        with shop.server("--max-attempts", "3") as server:
            wait_until_processed(server)
            failed = server.get("/order/5").body
            assert (failed["status"], failed["attempts"]) == ("Failed", 3)
            assert "the process ended during the attempt" in failed["error"]
            assert_counts(server, Completed=150, Failed=1)


def test_a_stop_does_not_count_the_attempt_that_it_interrupts(tmp_path: Path) -> None:
    with UserModule(tmp_path, 'tell(order)\nif not (HERE / "mended").exists(): wait_at_gate()') as shop:
        with shop.server("--drain-timeout", "0") as server:
            assert server.post(order(1)).status == 202
            assert shop.call()[:2] == (1, 1)
            assert server.stop() == 0
            assert "Traceback" not in server.log
        files = [path.name for path in tmp_path.iterdir() if path.name.startswith("orders.db")]
        assert files == ([] if is_on_postgresql() else ["orders.db"])
        (tmp_path / "mended").touch()
        with shop.server() as server:
            assert "attempts that were interrupted" not in server.log
            assert shop.call()[:2] == (1, 1)
            assert wait_for_status(server, 1, "Completed")["attempts"] == 1
            assert_counts(server, Completed=1)


def test_a_stop_runs_exit_handlers_and_flushes_files_of_the_function(tmp_path: Path) -> None:
    setup = """
        import atexit
        from concurrent.futures import ThreadPoolExecutor

        file = (HERE / "written").open("w")
        pool = ThreadPoolExecutor(1)
        atexit.register(lambda: (HERE / "left").touch())
    """
    body = """
        file.write("held\\n")
        pool.submit(print)
    """
    with (
        UserModule(tmp_path, body, setup=setup) as module,
        module.server("--workers", "1", "--drain-timeout", "0") as server,
    ):
        post_all(server, [1, 2])
        wait_until_processed(server)
        assert server.stop() == 0
    assert (tmp_path / "written").read_text() == "held\n" * 2
    assert (tmp_path / "left").exists()


def test_a_stop_without_standard_output_ends_with_status_0(tmp_path: Path) -> None:
    without_output = ["sh", "-c", 'exec "$@" >&-', "sh"]
    with (
        UserModule(tmp_path, "tell(order)\nwait_at_gate()") as module,
        module.server("--drain-timeout", "0", before=without_output) as server,
    ):
        assert server.post(order(1)).status == 202
        module.call()
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_stop_flushes_output_and_does_not_wait_for_threads_of_the_function(tmp_path: Path) -> None:
    body = """
        import threading
        print(f"order {order.order_id}\\n", end="")
        threading.Thread(target=wait_at_gate).start()
    """
    to_a_file = ["sh", "-c", 'out=$1; shift; exec "$@" >"$out"', "sh", str(tmp_path / "printed")]
    with UserModule(tmp_path, body) as module, module.server("--drain-timeout", "0.2", before=to_a_file) as server:
        post_all(server, [1, 2])
        wait_until_processed(server)
        assert server.stop() == 0
    assert sorted((tmp_path / "printed").read_text().splitlines()) == ["order 1", "order 2"]


@pytest.mark.parametrize("is_killed", [False, True], ids=["stop", "kill -9"])
def test_a_retry_begins_when_it_is_due_even_after_a_restart(tmp_path: Path, is_killed: bool) -> None:
    with UserModule(tmp_path, "tell(order)\nif order.attempt == 1: raise RetryLater(3, 'no flour')") as shop:
        with shop.server() as server:
            assert server.post(order(1)).status == 202
            first = shop.call()
            waiting = wait_for_status(server, 1, "Pending")
            seen_us = time.time_ns() // 1_000
            assert (waiting["attempts"], waiting["error"], waiting["processed_time"]) == (1, "no flour", None)
            if is_killed:
                server.kill()
            else:
                assert server.stop() == 0
        with connect_to(tmp_path / "orders.db") as connection:
            [due_us] = connection.execute("SELECT due_us FROM orders").fetchone()
        assert 3_000_000 <= due_us - first.began_us < seen_us - first.began_us + 3_000_000
        with shop.server() as server:
            listens_us = time.time_ns() // 1_000
            second = shop.call()
            assert second.attempt == 2
            assert due_us <= second.began_us < max(due_us, listens_us) + 1_000_000
            done = wait_for_status(server, 1, "Completed")
            assert (done["attempts"], done["error"]) == (2, None)
    print(f"due 3 s after the first attempt, begun {(second.began_us - due_us) / 1_000:.1f} ms after that")


def test_many_waiting_retries_do_not_delay_a_new_order(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = {}
        for waiting in (0, WAITING_RETRIES):
            folder = tmp_path / str(waiting)
            folder.mkdir()
            shop = stack.enter_context(UserModule(folder, "pass"))
            with shop.server() as server:
                assert server.stop() == 0
            add_waiting_retries(folder / "orders.db", waiting)
            servers[waiting] = stack.enter_context(shop.server())
        clients = {waiting: stack.enter_context(server.client()) for waiting, server in servers.items()}
        durations_s: dict[int, list[float]] = {waiting: [] for waiting in servers}
        # The servers alternate, so that other load on the machine delays both servers.
        for order_id in range(1, 201):
            for waiting, client in clients.items():
                durations_s[waiting].append(time_until_completed(client, order_id))
        for waiting, server in servers.items():
            assert_counts(server, Pending=waiting, Completed=200)
    alone_s, beside_s = (statistics.median(each) for each in durations_s.values())
    print(f"until Completed: {alone_s * 1e3:.2f} ms on an empty file, {beside_s * 1e3:.2f} ms beside {WAITING_RETRIES}")
    assert beside_s <= 2 * alone_s


def add_waiting_retries(path: Path, count: int) -> None:
    now_us = time.time_ns() // 1_000
    if is_on_postgresql():
        # Imported only here, because the tests on SQLite do not need psycopg.
        from tests.postgresql import server_databases

        server_databases.add_waiting_retries(path, first_id=1_000_000, count=count, now_us=now_us)
        return
    with connect_to(path) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO orders (order_id, user_id, item_ids, total_amount, status, attempts, claims, created_us,"
            " due_us) VALUES (?, 1, '[1]', 10000, 'Pending', 1, 1, ?, ?)",
            ((1_000_000 + number, now_us + number, now_us + 3_600_000_000 + number) for number in range(count)),
        )
        fill_blocks(connection)
        connection.execute("UPDATE totals SET pending = pending + ?", (count,))
        connection.execute("COMMIT")


def time_until_completed(client: Client, order_id: int) -> float:
    begin_s = time.monotonic()
    assert client.post(order(order_id)).status == 202
    assert client.ask("GET", f"/order/{order_id}?wait=30").body["status"] == "Completed"
    return time.monotonic() - begin_s
