"""The thread that sends requests over libcurl, to receivers on real sockets."""

import gzip
import os
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process import DEADLINE_S, free_port, wait_until
from tests.workers.http_client import HttpClient
from tests.workers.scripted_receiver import (
    SHORT_S,
    Flood,
    Receiver,
    Wire,
    answer,
    drip,
    hold,
    in_turn,
    reply,
    send,
    send_and_hang_up,
)
from workers.http.messages import Failure, FailureKind, Response
from workers.http.transfer import MAX_BODY_BYTES

CLOSED = Failure(FailureKind.NOT_HTTP, "Remote end closed connection without response")


# Requests


def test_a_request_is_a_post_with_its_headers_and_its_body(receiver: Receiver) -> None:
    with HttpClient(receiver.url) as client:
        assert client.post(b"body") == [Response(200)]
    [delivery] = receiver.deliveries
    assert (delivery.method, delivery.target, delivery.body) == ("POST", "/hook", b"body")
    assert delivery.headers["content-type"] == "text/plain"
    assert delivery.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 2_000_000])
def test_a_body_of_any_size_is_sent_whole_without_waiting_for_100_continue(receiver: Receiver, size: int) -> None:
    with HttpClient(receiver.url) as client:
        assert client.post(b"x" * size) == [Response(200)]
    [delivery] = receiver.deliveries
    assert len(delivery.body) == size
    assert "expect" not in delivery.headers


def test_requests_are_sent_in_order(receiver: Receiver) -> None:
    bodies = [str(number).encode() for number in range(100)]
    with HttpClient(receiver.url) as client:
        client.post(*bodies)
    assert receiver.bodies == bodies


# Connections


def test_as_many_requests_as_connections_are_sent_at_a_time() -> None:
    connections = 64
    # Each response waits until the receiver has this number of requests.
    all_arrived = threading.Barrier(connections)

    def script(wire: Wire) -> None:
        all_arrived.wait(DEADLINE_S)
        wire.send(reply(200))

    with Receiver(script) as receiver, HttpClient(receiver.url, connections=connections) as client:
        assert client.post(*[b"x"] * 5 * connections) == [Response(200)] * 5 * connections
        assert receiver.connections == connections


def test_no_more_requests_than_connections_are_sent_at_a_time(receiver: Receiver) -> None:
    goes_on = threading.Event()

    def script(wire: Wire) -> None:
        goes_on.wait(DEADLINE_S)
        wire.send(reply(200))

    receiver.script = script
    with HttpClient(receiver.url, connections=2) as client:
        client.begin(b"1", b"2", b"3")
        wait_until(lambda: len(receiver.deliveries) == 2)
        assert client.thread.running == 2
        goes_on.set()
        assert [client.next_result() for _ in range(3)] == [Response(200)] * 3
    assert receiver.connections == 2


def test_a_request_that_the_receiver_answers_by_closing_is_sent_once(receiver: Receiver) -> None:
    receiver.script = in_turn(answer(200), send_and_hang_up(), answer(200))
    with HttpClient(receiver.url) as client:
        assert client.post(b"1", b"2", b"3") == [Response(200), CLOSED, Response(200)]
    assert receiver.bodies == [b"1", b"2", b"3"]
    assert [delivery.connection for delivery in receiver.deliveries] == [1, 1, 2]


def test_connections_that_the_receiver_has_closed_are_replaced(receiver: Receiver) -> None:
    with HttpClient(receiver.url, connections=4) as client:
        for _ in range(20):
            assert client.post(b"x") == [Response(200)]
            receiver.hang_up()
    assert [delivery.connection for delivery in receiver.deliveries] == list(range(1, 21))


def test_a_receiver_on_ipv6_gets_requests() -> None:
    with Receiver(host="::1") as receiver, HttpClient(receiver.url) as client:
        assert client.post(b"x") == [Response(200)]


def test_child_processes_do_not_inherit_connections(receiver: Receiver) -> None:
    with HttpClient(receiver.url) as client:
        before = open_descriptors()
        client.post(b"x")
        opened = open_descriptors() - before
        assert len(opened) >= 2  # the ends of the connection
        assert [number for number, _ in opened if os.get_inheritable(number)] == []


def open_descriptors() -> set[tuple[int, str]]:
    """The number and the file of each descriptor. The number of a closed descriptor can be used again."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        # The descriptor with which the folder was read is closed.
        with suppress(FileNotFoundError):
            found.add((int(path.name), str(path.readlink())))
    return found


def test_a_closed_thread_has_aborted_its_requests(receiver: Receiver) -> None:
    receiver.script = hold
    with HttpClient(receiver.url, connections=3) as client:
        client.begin(b"1", b"2", b"3", b"4")
        wait_until(lambda: len(receiver.deliveries) == 3)
        client.thread.close()
        client.thread.close()
        wait_until(lambda: client.thread.running == 0)
        assert len(receiver.deliveries) == 3


def test_a_thread_that_has_not_started_can_be_closed() -> None:
    with HttpClient("http://127.0.0.1:1/") as client:
        client.thread.close()
        client.thread.wake()


# Responses


def gzipped(body: bytes) -> bytes:
    """Without a time, so that the names of the tests are the same in each process."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", b"no such shop"),
        ("gzip", gzipped(b"no such shop")),
        ("GZIP", gzipped(b"no such shop")),
        ("x-gzip", gzipped(b"no such shop")),
        ("deflate", zlib.compress(b"no such shop")),
        ("deflate", zlib.compress(b"no such shop", wbits=-zlib.MAX_WBITS)),
        ("deflate, gzip", gzipped(zlib.compress(b"no such shop"))),
        ("br", b"\x8b\x05\x80no such shop\x03"),
    ],
)
def test_a_compressed_body_is_decompressed(receiver: Receiver, encoding: str, body: bytes) -> None:
    receiver.script = answer(500, body, f"Content-Encoding: {encoding}")
    with HttpClient(receiver.url) as client:
        assert client.post(b"x", b"x") == [Response(500, b"no such shop")] * 2
    assert receiver.connections == 1


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "deflate", "br", "gzip, gzip"])
def test_a_body_that_can_not_be_decompressed_is_left_out(receiver: Receiver, encoding: str) -> None:
    receiver.script = answer(500, b"abc", f"Content-Encoding: {encoding}")
    with HttpClient(receiver.url) as client:
        assert client.post(b"x") == [Response(500)]


def test_the_beginning_of_an_incomplete_compressed_body_is_decompressed(receiver: Receiver) -> None:
    text = "".join(f"{number} is wrong. " for number in range(1_000)).encode()
    head = b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n"
    receiver.script = send_and_hang_up(head + gzip.compress(text)[:500])
    with HttpClient(receiver.url) as client:
        [response] = client.post(b"x")
    assert isinstance(response, Response)
    assert text.startswith(response.body)
    assert response.body.startswith(b"0 is wrong. 1 is wrong.")


@pytest.mark.parametrize("times", [1, 2])
def test_only_the_beginning_of_a_very_long_body_is_decompressed(receiver: Receiver, times: int) -> None:
    body = bytes(100_000_000)
    for _ in range(times):
        body = gzip.compress(body, compresslevel=1)
    receiver.script = in_turn(answer(500, body, f"Content-Encoding: {', '.join(['gzip'] * times)}"), answer(200))
    with HttpClient(receiver.url) as client:
        assert client.post(b"x", b"x") == [Response(500, bytes(MAX_BODY_BYTES)), Response(200)]


def test_a_compressed_body_without_end_is_given_up_in_time(receiver: Receiver) -> None:
    empty_block = b"\0\0\0\xff\xff"
    flood = Flood(b"HTTP/1.1 500 No\r\nContent-Encoding: deflate\r\n\r\n", empty_block * 10_000)
    receiver.script = flood
    with HttpClient(receiver.url, timeout_s=SHORT_S) as client:
        assert client.post(b"x") == [Response(500)]
        assert flood.ended.wait(DEADLINE_S)


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_response_head_that_is_never_complete_times_out(receiver: Receiver, beginning: bytes) -> None:
    receiver.script = drip(beginning + b"HTTP/1.1 200 OK\r\nX-Slow: ")
    with HttpClient(receiver.url, timeout_s=SHORT_S) as client:
        [failure] = client.post(b"x")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.NOT_ANSWERED_IN_TIME


def test_a_response_has_the_headers_of_its_last_head(receiver: Receiver) -> None:
    receiver.script = send(
        b"HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n"
        b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\nretry-after:  2 \r\n\r\n"
        b"2\r\nno\r\n0\r\nRetry-After: 3\r\n\r\n"
    )
    with HttpClient(receiver.url) as client:
        assert client.post(b"x") == [Response(503, b"no", "text/html", "2")]


def test_a_header_can_contain_any_bytes(receiver: Receiver) -> None:
    receiver.script = send(
        b"HTTP/1.1 503 \xff\r\nContent-Type: text/\xff\r\nRetry-After: \xfe\r\nX: \xff\r\nContent-Length: 0\r\n\r\n"
    )
    with HttpClient(receiver.url) as client:
        assert client.post(b"x", b"x") == [Response(503, b"", "text/\xff", "\xfe")] * 2


# Failures


def test_a_name_without_an_address_is_a_failure() -> None:
    with HttpClient("http://a..b/hook") as client:
        [failure] = client.post(b"x")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.UNREACHABLE
    assert "a..b" in failure.cause


def test_a_closed_port_is_a_failure() -> None:
    listener, port = free_port()
    listener.close()
    with HttpClient(f"http://127.0.0.1:{port}/hook") as client:
        assert client.post(b"x") == [Failure(FailureKind.UNREACHABLE, "[Errno 111] Connection refused")]


def test_a_connection_that_is_not_accepted_in_time_is_a_failure() -> None:
    # Nobody accepts. The system completes the handshakes of few connections, and then ignores the others.
    listener, port = free_port()
    listener.listen(0)
    with listener, HttpClient(f"http://127.0.0.1:{port}/hook", connections=8, timeout_s=SHORT_S) as client:
        failures = client.post(*[b"x"] * 8)
    kinds = {failure.kind for failure in failures if isinstance(failure, Failure)}
    assert kinds == {FailureKind.NOT_ANSWERED_IN_TIME, FailureKind.NOT_CONNECTED_IN_TIME}
