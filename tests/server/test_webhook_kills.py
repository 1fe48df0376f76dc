"""Many webhooks, a receiver that refuses some of them, and two kills of the server."""

import itertools
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.live_orders import assert_counts, interrupted_attempts, wait_until_processed
from tests.process import DEADLINE_S, ServerProcess, has_values_of, order
from tests.receiver import SECRET, Delivery, NoAnswer, Receiver, Reply

ORDERS = 5_000
"""The number of orders. With 100,000, the test takes six minutes on two cores, and passes, too."""
KILLS = 2
REFUSED_EVERY = 100
"""The receiver refuses each delivery whose number is a multiple of this number."""
MIN_ORDERS_PER_S = 50
"""The test fails if the receiver gets fewer orders per second."""
REFUSALS: tuple[Reply | NoAnswer, ...] = (Reply(503), Reply(429, {"Retry-After": "0"}), Reply(429), NoAnswer.CLOSE)


def post_stream(server: ServerProcess, order_ids: range) -> None:
    """Posts the orders in one request. All must be accepted."""
    lines = "\n".join(json.dumps(order(order_id)) for order_id in order_ids)
    with server.client() as client:
        client.request("POST", "/orders", lines, {"Content-Type": "application/x-ndjson"})
        answer = client.answer()
    assert (answer.status, answer.body["accepted"]) == (202, len(order_ids)), answer.body


@pytest.mark.slow
def test_every_order_is_delivered_despite_refusals_and_kills(tmp_path: Path) -> None:
    numbers = itertools.count(1)
    refusals = itertools.cycle(REFUSALS)
    answers: Counter[str] = Counter()

    def behave(delivery: Delivery) -> Reply | NoAnswer:
        answer = next(refusals) if next(numbers) % REFUSED_EVERY == 0 else Reply(200)
        answers[str(answer.status) if isinstance(answer, Reply) else answer.name] += 1
        return answer

    begin_s = time.monotonic()
    path = tmp_path / "orders.db"
    ends = [ORDERS * (number + 1) // (KILLS + 1) for number in range(KILLS + 1)]
    interrupted = 0
    with Receiver(behave) as receiver:
        flags = ["--processor", "webhook", "--webhook-url", receiver.url]
        for first, last in itertools.pairwise([0, *ends]):
            is_last = last == ORDERS
            with ServerProcess(path, *flags, environment={"ORDERS_WEBHOOK_SECRET": SECRET}) as server:
                post_stream(server, range(first + 1, last + 1))
                # A kill comes in the middle of the deliveries of this part.
                wanted = ORDERS if is_last else (first + last) // 2
                # mypy can't infer the type of a lambda with a default.
                receiver.wait_for(
                    lambda wanted=wanted: len(receiver.taken) >= wanted,  # type: ignore[misc]
                    within_s=DEADLINE_S + ORDERS / MIN_ORDERS_PER_S,
                )
                if is_last:
                    wait_until_processed(server)
                    assert_counts(server, Completed=ORDERS)
                    assert server.stop() == 0
                else:
                    server.kill()
            interrupted += interrupted_attempts(server)
            assert "Traceback" not in server.log
        assert receiver.faults == []  # each signature is valid
    assert receiver.taken == {f"order_{order_id}" for order_id in range(1, ORDERS + 1)}
    for order_id in range(1, ORDERS + 1):
        deliveries = receiver.deliveries[f"order_{order_id}"]
        assert len({delivery.body for delivery in deliveries}) == 1
        assert has_values_of(deliveries[0].order, order(order_id))
    assert interrupted
    assert min(answers[each] for each in ("200", "503", "429", "CLOSE")) > 0
    print(
        f"{ORDERS} orders, all delivered; {dict(answers)}; {KILLS} kills, {interrupted} attempts interrupted; "
        f"{time.monotonic() - begin_s:.1f} s"
    )
