"""The wall clock of a real server is set while the server runs. libfaketime sets the clock only for the server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.live_orders import post_all, wait_for_status, wait_until_processed
from tests.process import ServerProcess, need, order, wait_until
from tests.user_module import UserModule

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_memory_removed")]

RETRIED = """
    if order.order_id == 3: raise RetryLater(3_600, "closed")
    tell(order)
    if order.attempt == 1 and order.order_id == 1: raise RetryLater(5, "down")
"""
HOUR_S, DAY_S = 3_600, 86_400


@pytest.fixture
def shared_memory_removed() -> Iterator[None]:
    """Removes the shared memory of libfaketime after its process has ended, because libfaketime leaves it."""
    yield
    for path in Path("/dev/shm").glob("*faketime_s*_*"):  # noqa: S108
        pid = path.name.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            path.unlink(missing_ok=True)


class WallClock:
    """The wall clock of a server. The monotonic clocks are those of the system."""

    def __init__(self, folder: Path) -> None:
        need("faketime")
        [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self._file = folder / "clock"
        self.set(0)
        self.command = (
            "env",
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        """The prefix for the command of the server."""

    def set(self, ahead_s: int) -> None:
        """Sets the clock to the system's time plus this number of seconds."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+}\n")
        new.rename(self._file)


def steps_logged(server: ServerProcess) -> int:
    return server.log.count("the wall clock was set")


@pytest.mark.parametrize("ahead_s", [-HOUR_S, DAY_S], ids=["an hour back", "a day forward"])
def test_a_retry_is_made_when_due_and_durations_stay_right(tmp_path: Path, ahead_s: int) -> None:
    wall = WallClock(tmp_path)
    with UserModule(tmp_path, RETRIED) as shop, shop.server(before=wall.command) as server:
        post_all(server, [3, 1], clients=1)
        assert shop.call().attempt == 1
        for order_id in (1, 3):
            wait_for_status(server, order_id, "Pending")
        wall.set(ahead_s)
        # The server notices the step although it writes nothing.
        wait_until(lambda: steps_logged(server) == 1)
        assert shop.call().attempt == 2
        wait_for_status(server, 1, "Completed")
        assert 5 <= server.get("/order/1").body["processing_time"] < 60
        metrics = server.get("/metrics").body
        assert 5 <= metrics["avg_processing_time"] < 60
        assert metrics["oldest_pending_seconds"] == 0  # order 3 is still not due
        due = datetime.fromisoformat(server.get("/order/3").body["next_attempt_at"])
        assert abs((due - datetime.now(UTC)).total_seconds() - ahead_s - HOUR_S) < 60
        assert server.post(order(2)).status == 202
        created = datetime.fromisoformat(server.get("/order/2").body["created_time"]).replace(tzinfo=UTC)
        assert abs((created - datetime.now(UTC)).total_seconds() - ahead_s) < 60
        with server.client() as client:
            assert client.ask("POST", "/processing/pause").status == 200
            assert client.ask("POST", "/order/3/retry").status == 200
        assert 5 <= server.get("/metrics").body["oldest_pending_seconds"] < 60
        assert server.stop() == 0


@pytest.mark.parametrize("ahead_s", [-HOUR_S, DAY_S], ids=["an hour back", "a day forward"])
def test_a_retry_is_made_when_due_after_a_step_and_a_kill(tmp_path: Path, ahead_s: int) -> None:
    wall = WallClock(tmp_path)
    with UserModule(tmp_path, RETRIED) as shop:
        with shop.server(before=wall.command) as server:
            assert server.post(order(1)).status == 202
            began_us = shop.call().began_us
            wait_for_status(server, 1, "Pending")
            wall.set(ahead_s)
            wait_until(lambda: steps_logged(server) == 1)
            server.kill()
        with shop.server(before=wall.command) as server:
            again = shop.call()
            assert again.attempt == 2
            assert again.began_us - began_us - ahead_s * 1_000_000 > 4_500_000
            wait_until_processed(server)
