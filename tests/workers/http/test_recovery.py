"""Errors of libcurl and of this program on the thread that sends requests."""

import logging
import threading
import time
from queue import SimpleQueue

import pytest

from tests.examples import examples
from tests.process import DEADLINE_S, wait_until
from tests.workers.http_client import SHORT_BACKOFF, HttpClient, SentRequest
from tests.workers.scripted_receiver import Receiver, answer, hold
from workers.backoff import Backoff
from workers.http.http_thread import HttpThread
from workers.http.messages import Failure, FailureKind, Request, Response
from workers.http.target import Target


class FaultyClock:
    """A monotonic clock. After `fail_at(n)`, the n-th call raises."""

    def __init__(self) -> None:
        self.calls_until_failure = 0
        self.failures = 0

    def fail_at(self, call: int) -> None:
        self.calls_until_failure = call

    def __call__(self) -> float:
        if self.calls_until_failure:
            self.calls_until_failure -= 1
            if not self.calls_until_failure:
                self.failures += 1
                raise OSError("the clock is broken")
        return time.monotonic()


def internal_failures(results: list[Response | Failure]) -> int:
    return sum(isinstance(each, Failure) and each.kind is FailureKind.INTERNAL for each in results)


# An exception that a callback of libcurl raises makes libcurl abort all transfers of its multi handle, and refuse new
# ones. Some of these calls of the clock are in such callbacks.
@pytest.mark.parametrize("call", range(1, 11))
def test_an_error_fails_the_requests_in_progress_and_later_requests_are_sent(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, call: int
) -> None:
    receiver.script = hold
    clock = FaultyClock()
    with HttpClient(receiver.url, connections=5, clock=clock) as client:
        client.begin(b"1", b"2", b"3")
        wait_until(lambda: len(receiver.deliveries) == 3)
        receiver.script = answer(200)
        clock.fail_at(call)
        results: list[Response | Failure] = []
        while not clock.failures:
            client.begin(b"x")
            results.append(client.next_result())
        results += [client.next_result() for _ in range(3)]  # each request has one result
        assert client.post(b"x") == [Response(200)]
        assert client.thread.running == 0
    assert 3 <= internal_failures(results) <= 4
    failed = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(failed) == 1
    assert failed[0].getMessage().startswith("the thread http failed: it aborts ")
    assert failed[0].exc_info


def test_every_request_gets_one_result_if_errors_are_frequent(receiver: Receiver) -> None:
    clock = FaultyClock()
    requests = examples(2_000)
    with HttpClient(receiver.url, connections=16, clock=clock) as client:
        client.begin(*[b"x"] * requests)
        results = []
        for number in range(requests):
            results.append(client.next_result())
            if number % 200 == 0:
                clock.fail_at(100)
        assert client.post(b"x") == [Response(200)]
        assert clock.failures > 1
        assert internal_failures(results) > 0


def test_the_thread_waits_longer_after_each_failure_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    def clock() -> float:
        raise OSError("the clock is broken")

    backoff = Backoff(first_s=0.01, max_s=0.04, jitter=lambda: 0.5)
    with HttpClient("http://127.0.0.1:1/", backoff=backoff, clock=clock) as client:
        client.begin(*[b"x"] * 5)
        assert internal_failures([client.next_result() for _ in range(5)]) == 5
    delays_s = [each.args[2] for each in caplog.records if isinstance(each.args, tuple)]
    assert delays_s[:4] == [0.01, 0.02, 0.04, 0.04]


def test_a_thread_that_waits_after_a_failure_can_be_closed() -> None:
    clock = FaultyClock()
    clock.fail_at(1)
    with HttpClient("http://127.0.0.1:1/", backoff=Backoff(first_s=3_600, max_s=3_600), clock=clock) as client:
        before = set(threading.enumerate())
        client.begin(b"x")
        [thread] = set(threading.enumerate()) - before
        assert internal_failures([client.next_result()]) == 1
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


class FaultySource:
    """Supplies a request after an error."""

    def __init__(self) -> None:
        self.results: SimpleQueue[Response | Failure] = SimpleQueue()
        self._calls = 0

    def next_exchange(self) -> SentRequest | None:
        self._calls += 1
        if self._calls == 1:
            raise OSError("no request")
        return SentRequest(Request([], b"x"), self.results) if self._calls == 2 else None


def test_an_error_of_the_source_does_not_end_the_thread(receiver: Receiver) -> None:
    source = FaultySource()
    target = Target(url=receiver.url, connect_timeout_s=DEADLINE_S, timeout_s=DEADLINE_S)
    thread = HttpThread(name="http", target=target, connections=1, source=source, backoff=SHORT_BACKOFF)
    thread.wake()
    assert source.results.get(timeout=DEADLINE_S) == Response(200)
    thread.close()


class FaultyResults(SimpleQueue[Response | Failure]):
    """Refuses the first result."""

    def __init__(self) -> None:
        self._is_first = True

    def put(self, item: Response | Failure, block: bool = True, timeout: float | None = None) -> None:
        if self._is_first:
            self._is_first = False
            raise OSError("full")
        super().put(item, block, timeout)


def test_an_error_in_the_delivery_of_a_result_does_not_concern_other_results(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with HttpClient(receiver.url, results=FaultyResults()) as client:
        client.begin(b"1", b"2", b"3")
        assert [client.next_result() for _ in range(2)] == [Response(200)] * 2
    assert [each.getMessage() for each in caplog.records] == ["the result of a request could not be delivered"]
    assert receiver.connections == 1


def test_a_request_that_can_not_be_sent_does_not_concern_other_requests(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with HttpClient(receiver.url) as client:
        client.send(Request([], b"1"), Request(["A: \N{SNOWMAN}"], b"2"), Request([], b"3"))
        results = [client.next_result() for _ in range(3)]
    assert [results[0], results[2]] == [Response(200)] * 2
    assert internal_failures(results) == 1
    assert [each.getMessage() for each in caplog.records] == ["a request can't be sent"]
    assert receiver.bodies == [b"1", b"3"]
    assert receiver.connections == 1
