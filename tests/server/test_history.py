"""The attempts of an order, listed by a real server after a kill, a stop and a retry that a client requested."""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.live_orders import wait_for_status
from tests.process import order
from tests.user_module import UserModule

BODY = """
    with (HERE / "count").open("a") as file:
        file.write("x")
        count = file.tell()
    tell(order)
    if count <= 2:
        wait_at_gate()
    if count == 3:
        raise RetryLater(0, "not yet")
    if count == 4:
        raise Rejected("no flour")
"""


@pytest.mark.slow
def test_the_history_has_every_attempt_and_how_it_ended(tmp_path: Path) -> None:
    with UserModule(tmp_path, BODY) as shop:
        with shop.server() as server:
            assert server.post(order(1)).status == 202
            shop.call()
            server.kill()
        with shop.server("--drain-timeout", "0") as server:
            shop.call()
            assert server.stop() == 0
        with shop.server() as server:
            failed = wait_for_status(server, 1, "Failed")
            assert (failed["attempts"], failed["next_attempt_at"]) == (3, None)
            with server.client() as client:
                assert client.ask("POST", "/order/1/retry").status == 200
            done = wait_for_status(server, 1, "Completed")
            answer = server.get("/order/1/attempts").body
    assert [(each["number"], each["outcome"], each["error"]) for each in answer["attempts"]] == [
        (1, "interrupted", "the process ended during the attempt"),
        (2, "stopped", None),
        (2, "failed", "not yet"),
        (3, "rejected", "no flour"),
        (1, "completed", None),
    ]
    times = [time for each in answer["attempts"] for time in (each["started_at"], each["ended_at"])]
    assert all(earlier <= later for earlier, later in pairwise([done["created_at"], *times]))
    assert times[-1] == done["processed_at"]
