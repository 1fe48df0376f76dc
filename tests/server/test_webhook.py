"""A real server that delivers orders to a webhook's receiver: outages, time-outs, kills, and the secret."""

import itertools
import random
import re
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from tests.live_orders import (
    assert_counts,
    connect_to,
    interrupted_attempts,
    post_all,
    wait_for_status,
    wait_until_processed,
)
from tests.process import (
    DEADLINE_S,
    HANGS_AFTER_S,
    PostingClients,
    ServerProcess,
    has_values_of,
    is_on_postgresql,
    order,
    wait_until,
)
from tests.receiver import SECRET, Delivery, NoAnswer, Receiver, Reply

KILLS = 5
REFUSED_ORDERS = 100
"""The number of orders in the test with a receiver that refuses most deliveries. 1,000 orders need three minutes."""


def webhook_flags(receiver: Receiver) -> list[str]:
    return ["--processor", "webhook", "--webhook-url", receiver.url]


def webhook_server(path: Path, receiver: Receiver, *flags: str) -> ServerProcess:
    return ServerProcess(path, *webhook_flags(receiver), *flags, environment={"ORDERS_WEBHOOK_SECRET": SECRET})


class Outage:
    """The behaviour of a Receiver: 500 for `OUTAGE_S` from the first delivery on, then 429 for `BUSY_S`, then 200.

    After the 500s, the first delivery of some orders gets no response. These orders have ids above `last_answered`.
    """

    OUTAGE_S = 8.0
    BUSY_S = 5.0
    RETRY_AFTER_S = 2

    def __init__(self, *, last_answered: int) -> None:
        self.nearly_over = threading.Event()
        """Set 4 s before the end of the 500s."""
        self.over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.busy_answered: list[Delivery] = []
        self._last_answered = last_answered
        self._begin_s: float | None = None
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, delivery: Delivery) -> Reply | NoAnswer:
        with self._lock:
            answer = self._answer(delivery)
            self.answers[answer.name if isinstance(answer, NoAnswer) else str(answer.status)] += 1
        return answer

    def _answer(self, delivery: Delivery) -> Reply | NoAnswer:
        if self._begin_s is None:
            self._begin_s = delivery.arrived_s
        age_s = delivery.arrived_s - self._begin_s
        if age_s >= self.OUTAGE_S - 4.0:
            self.nearly_over.set()
        if age_s < self.OUTAGE_S:
            return Reply(500, body=b"out of order")
        self.over.set()
        order_id = order_id_of(delivery.webhook_id)
        is_first = order_id > self._last_answered and delivery.webhook_id not in self._seen
        self._seen.add(delivery.webhook_id)
        if is_first and order_id % 50 < 2:
            return NoAnswer.HANG if order_id % 50 else NoAnswer.CLOSE
        if age_s < self.OUTAGE_S + self.BUSY_S:
            self.busy_answered.append(delivery)
            return Reply(429, {"Retry-After": str(self.RETRY_AFTER_S)})
        return Reply(200, body=b"thank you")


def order_id_of(webhook_id: str) -> int:
    return int(webhook_id.removeprefix("order_"))


@pytest.mark.slow
def test_all_orders_are_delivered_despite_an_outage_time_outs_and_429s(tmp_path: Path) -> None:
    outage = Outage(last_answered=1_000)
    begin_s = time.monotonic()
    with (
        Receiver(outage) as receiver,
        webhook_server(
            tmp_path / "orders.db", receiver, "--webhook-connections", "32", "--max-attempts", "20"
        ) as server,
    ):
        post_all(server, range(1, 1_001))
        assert outage.nearly_over.wait(DEADLINE_S)
        post_all(server, range(1_001, 1_501))
        assert outage.over.wait(DEADLINE_S)
        post_all(server, range(1_501, 2_001))
        receiver.wait_for(lambda: len(receiver.taken) == 2_000, within_s=HANGS_AFTER_S)
        wait_until_processed(server)
        took_s = time.monotonic() - begin_s
        assert_counts(server, Completed=2_000)
        assert receiver.faults == []
        with connect_to(server.database) as connection:
            attempts = dict(connection.execute("SELECT order_id, attempts FROM orders"))
        assert "Traceback" not in server.log
    delivered = {order_id_of(webhook_id): deliveries for webhook_id, deliveries in receiver.deliveries.items()}
    refusals = Counter(order_id_of(busy.webhook_id) for busy in outage.busy_answered)
    assert {order_id: len(sent) - refusals[order_id] for order_id, sent in delivered.items()} == attempts
    for order_id, deliveries in delivered.items():
        assert len({delivery.body for delivery in deliveries}) == 1
        assert has_values_of(deliveries[0].order, order(order_id))
    for busy in outage.busy_answered:
        again = receiver.deliveries[busy.webhook_id][busy.number]
        assert again.arrived_s - busy.arrived_s >= outage.RETRY_AFTER_S
    assert len(receiver.hung_s) == outage.answers["HANG"] > 0
    assert all(13.0 < waited_s < 20.0 for waited_s in receiver.hung_s), receiver.hung_s
    assert min(outage.answers[each] for each in ("500", "429", "200", "CLOSE")) > 0
    print(
        f"2000 orders, {sum(attempts.values())} attempts (at most {max(attempts.values())} for one order), "
        f"all deliveries verified: {dict(outage.answers)}; {took_s:.1f} s"
    )


@pytest.mark.slow
def test_a_receiver_that_refuses_nine_of_ten_deliveries_gets_every_order(tmp_path: Path) -> None:
    numbers = itertools.count(1)
    refused_s: list[float] = []

    def behave(delivery: Delivery) -> Reply:
        if next(numbers) % 10 == 0:
            return Reply(200)
        refused_s.append(delivery.arrived_s)
        return Reply(429, {"Retry-After": "0"}, b"too many")

    with (
        Receiver(behave) as receiver,
        webhook_server(tmp_path / "orders.db", receiver, "--max-attempts", "1") as server,
    ):
        post_all(server, range(1, 1 + REFUSED_ORDERS))
        receiver.wait_for(lambda: len(receiver.taken) == REFUSED_ORDERS, within_s=HANGS_AFTER_S)
        wait_until_processed(server)
        assert_counts(server, Completed=REFUSED_ORDERS)
        with connect_to(server.database) as connection:
            assert connection.execute("SELECT DISTINCT attempts, error FROM orders").fetchall() == [(1, None)]
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics/prometheus", timeout=DEADLINE_S) as page:
            metrics = page.read().decode()
        assert server.stop() == 0
    assert len(refused_s) == 9 * REFUSED_ORDERS
    assert f'orders_attempts_total{{outcome="refused"}} {9 * REFUSED_ORDERS:.1f}' in metrics
    assert re.search(r'^orders_delivery_pauses_total\{reason="busy"\} [1-9]', metrics, re.MULTILINE)
    took_s = refused_s[-1] - refused_s[0]
    assert len(re.findall("deliveries are paused", server.log)) <= 2 + took_s / 10
    assert "failed" not in server.log
    print(f"{REFUSED_ORDERS} orders, {len(refused_s)} refused deliveries, {took_s:.1f} s")


@pytest.mark.slow
def test_a_receiver_that_takes_some_orders_each_second_refuses_few(tmp_path: Path) -> None:
    """The receiver takes 20 orders in each second. It sends a 429 with `Retry-After: 1` for each further order."""
    taken: Counter[int] = Counter()
    refused: Counter[int] = Counter()
    lock = threading.Lock()

    def behave(delivery: Delivery) -> Reply:
        second = int(delivery.arrived_s)
        with lock:
            if taken[second] < 20:
                taken[second] += 1
                return Reply(200)
            refused[second] += 1
        return Reply(429, {"Retry-After": "1"})

    with (
        Receiver(behave) as receiver,
        webhook_server(tmp_path / "orders.db", receiver, "--max-attempts", "1") as server,
    ):
        post_all(server, range(1, 201))
        receiver.wait_for(lambda: len(receiver.taken) == 200, within_s=DEADLINE_S)
        wait_until_processed(server)
        assert_counts(server, Completed=200)
        assert server.stop() == 0
    assert re.search(r"WARNING deliveries are paused until [-\d]+ [:\d]+ UTC: the receiver answered 429\n", server.log)
    assert re.search(r"INFO deliveries resumed after \d\.\d s\n", server.log)
    print(f"200 orders, {sum(refused.values())} refused deliveries in {len(refused)} seconds")
    # At first up to 64 deliveries are open.
    assert sum(refused.values()) <= 64 + 200


@pytest.mark.slow
def test_a_pause_of_a_day_ends_when_processing_is_resumed(tmp_path: Path) -> None:
    def behave(delivery: Delivery) -> Reply:
        is_first = order_id_of(delivery.webhook_id) == delivery.number == 1
        return Reply(429, {"Retry-After": "86400"}) if is_first else Reply(200)

    with Receiver(behave) as receiver, webhook_server(tmp_path / "orders.db", receiver) as server:
        post_all(server, [1])
        wait_until(lambda: "deliveries are paused until" in server.log)
        post_all(server, [2, 3])
        with server.client() as client:
            assert client.ask("POST", "/processing/resume").status == 200
            for order_id in (2, 3):
                wait_for_status(server, order_id, "Completed")
            assert client.ask("GET", "/order/1").body["status"] == "Pending"
            assert client.ask("POST", "/orders/retry?status=Pending").body == {"retried": 1}
        wait_for_status(server, 1, "Completed")
        assert server.stop() == 0
    assert "processing resumed by 127.0.0.1" in server.log


@pytest.mark.slow
def test_kill_9_while_the_receiver_is_down_loses_no_order(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    path = tmp_path / "orders.db"
    is_up = threading.Event()
    begin_s = time.monotonic()

    def behave(delivery: Delivery) -> Reply | NoAnswer:
        if is_up.is_set():
            return Reply(204)
        return Reply(503) if order_id_of(delivery.webhook_id) % 20 else NoAnswer.HANG

    acknowledged: set[int] = set()
    interrupted = waiting = 0
    with Receiver(behave) as receiver:
        for number in range(KILLS):
            # In even rounds the receiver does not listen. In odd rounds some deliveries get no response.
            is_up.clear()
            if number % 2 == 0:
                receiver.stop()
            with webhook_server(path, receiver) as server:
                clients = PostingClients(server.port, first_id=1 + number * 1_000_000, clients=4)
                assert clients.enough.wait(DEADLINE_S)
                server.assert_alive_for(chance.uniform(0.0, 1.0))
                server.kill()
                clients.join()
                assert not clients.refused
            acknowledged |= clients.acknowledged
            with webhook_server(path, receiver) as server:
                if is_on_postgresql():
                    # The attempts that the kill interrupted are ended later than the start.
                    wait_until(lambda: waiting_retries(path) > 0)
                waiting += waiting_retries(path)
                receiver.stop()  # ends the deliveries without a response
                is_up.set()
                receiver.start()
                wanted = {f"order_{order_id}" for order_id in clients.acknowledged}
                # mypy can't infer the type of a lambda with a default.
                receiver.wait_for(lambda wanted=wanted: wanted <= receiver.taken, within_s=DEADLINE_S)  # type: ignore[misc]
                wait_until_processed(server)
                with connect_to(path) as connection:
                    stored = {order_id for (order_id,) in connection.execute("SELECT order_id FROM orders")}
                assert acknowledged <= stored
                interrupted += interrupted_attempts(server)
                assert_counts(server, Completed=len(stored))
                assert "Traceback" not in server.log
        assert receiver.faults == []
        assert {order_id_of(webhook_id) for webhook_id in receiver.taken} == stored
        for webhook_id, deliveries in receiver.deliveries.items():
            assert len({delivery.body for delivery in deliveries}) == 1
            assert has_values_of(deliveries[0].order, order(order_id_of(webhook_id)))
    assert interrupted
    assert waiting
    print(
        f"{KILLS} kills, {len(acknowledged)} orders acknowledged, {interrupted} attempts interrupted, {waiting} "
        f"retries waiting at the restarts, 0 lost, 0 stuck; {time.monotonic() - begin_s:.1f} s"
    )


def waiting_retries(path: Path) -> int:
    with connect_to(path) as connection:
        found = connection.execute("SELECT count(*) FROM orders WHERE status = 'Pending' AND due_us IS NOT NULL")
        return int(found.fetchone()[0])


@pytest.mark.slow
def test_the_secret_is_not_in_the_log_arguments_answers_or_files(tmp_path: Path) -> None:
    def behave(delivery: Delivery) -> Reply | NoAnswer:
        match order_id_of(delivery.webhook_id), delivery.number:
            case 1, 1:
                return NoAnswer.CLOSE
            case 2, _:
                return Reply(422, body=b"not this one")
        return Reply(201)

    with Receiver(behave) as receiver, webhook_server(tmp_path / "orders.db", receiver) as server:
        post_all(server, [1, 2, 3])
        shown = [wait_for_status(server, 1, "Completed"), wait_for_status(server, 2, "Failed")]
        assert shown[0]["attempts"] == 2
        assert (shown[1]["attempts"], shown[1]["error"]) == (1, "the receiver answered 422: not this one")
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert receiver.url in arguments
        receiver.stop()
        assert server.post(order(4)).status == 202
        shown.append(wait_for_status(server, 4, "Pending"))
        assert server.stop() == 0
        assert receiver.faults == []
    assert "attempt 1 failed, it will be retried" in server.log
    digits = SECRET.removeprefix("whsec_")
    for text in (server.log, arguments, str(shown)):
        assert not {each for each in (digits, digits.rstrip("="), "secret-in-tests") if each in text}
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert digits.encode() not in stored
