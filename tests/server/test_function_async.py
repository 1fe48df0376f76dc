"""A real server that processes orders with an `async def` function: how many run at once, stops and kills."""

from pathlib import Path

import pytest

from tests.live_orders import assert_counts, interrupted_attempts, post_all, wait_for_status, wait_until_processed
from tests.process import DEADLINE_S, order
from tests.user_module import UserModule

pytestmark = pytest.mark.slow

FLAGS = ("--processor", "shop:run")


def test_as_many_coroutines_run_at_once_as_there_are_workers(tmp_path: Path) -> None:
    orders, workers = 200, 4
    # A call ends only after three later calls have begun, so four calls run at once, and never five.
    setup = f"""
        import asyncio

        begun = running = 0
        changed = asyncio.Condition()

        async def run(order):
            global begun, running
            async with asyncio.timeout({DEADLINE_S}), changed:
                begun += 1
                running += 1
                if running > {workers}:
                    raise Rejected("too many coroutines run")
                needed = min(begun + {workers - 1}, {orders})
                changed.notify_all()
                await changed.wait_for(lambda: begun >= needed)
                running -= 1
    """
    flags = (*FLAGS, "--workers", str(workers), "--max-attempts", "1")
    with UserModule(tmp_path, "pass", setup=setup) as shop, shop.server(*flags) as server:
        post_all(server, range(1, orders + 1))
        wait_until_processed(server)
        assert_counts(server, Completed=orders)
        assert server.stop() == 0


WAITS = """
    import asyncio

    async def run(order):
        tell(order)
        try:
            if order.attempt == 1 and not (HERE / "stopped").exists():
                await asyncio.Event().wait()
        finally:
            (HERE / "stopped").touch()
"""


def test_the_attempt_of_a_killed_server_is_repeated(tmp_path: Path) -> None:
    with UserModule(tmp_path, "pass", setup=WAITS) as shop:
        with shop.server(*FLAGS) as server:
            assert server.post(order(1)).status == 202
            assert shop.call()[:2] == (1, 1)
            server.kill()
        with shop.server(*FLAGS) as server:
            assert wait_for_status(server, 1, "Completed")["attempts"] == 2
            assert interrupted_attempts(server) == 1


def test_a_stop_cancels_the_coroutine_and_does_not_count_the_attempt(tmp_path: Path) -> None:
    with UserModule(tmp_path, "pass", setup=WAITS) as shop:
        with shop.server(*FLAGS, "--drain-timeout", "0") as server:
            assert server.post(order(1)).status == 202
            assert shop.call()[:2] == (1, 1)
            assert server.stop() == 0
            assert "Traceback" not in server.log
        assert (tmp_path / "stopped").exists()
        with shop.server(*FLAGS) as server:
            assert wait_for_status(server, 1, "Completed")["attempts"] == 1
