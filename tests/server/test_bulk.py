"""`POST /orders` to a real server: full disks, locks, stops, kills, clients that disconnect, and memory."""

import contextlib
import http.client
import json
import random
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.live_orders import assert_counts, connect_to, wait_until_processed
from tests.process import DEADLINE_S, HANGS_AFTER_S, Answer, PostingClients, ServerProcess, need, order, wait_until
from tests.storage_faults import full_disk, locked_database
from tests.user_module import UserModule

HEAD = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
HEAD += b"Content-Type: application/x-ndjson\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
ORDERS_A_CHUNK = 500


def lines_of(order_ids: Iterable[int]) -> bytes:
    return b"".join(json.dumps(order(order_id)).encode() + b"\n" for order_id in order_ids)


class OrderStream:
    """Sends the lines of one `POST /orders` in chunks, until the test ends the body or the server responds."""

    def __init__(self, port: int, *, first_id: int = 1) -> None:
        self._first_id = first_id
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.sent = 0
        """The number of orders sent. Their ids are `first_id`, `first_id` + 1, and so on."""
        self.socket.sendall(HEAD)

    def __enter__(self) -> "OrderStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, count: int = ORDERS_A_CHUNK) -> None:
        first_id = self._first_id + self.sent
        data = lines_of(range(first_id, first_id + count))
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        self.sent += count

    def send_until_refused(self, count: int = ORDERS_A_CHUNK) -> None:
        """Sends orders until the server responds or closes the connection."""
        try:
            while not self._has_answer():
                self.send(count)
        except OSError:
            return

    def end(self) -> Answer:
        self.socket.sendall(LAST_CHUNK)
        return self.answer()

    def answer(self) -> Answer:
        response = http.client.HTTPResponse(self.socket, method="POST")
        response.begin()
        return Answer(response.status, response.headers, json.loads(response.read()))

    def answers(self) -> list[int]:
        """The statuses of all responses until the connection is closed."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := self.socket.recv(65_536):
                received += part
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]

    def _has_answer(self) -> bool:
        self.socket.setblocking(False)
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(DEADLINE_S)


def post_lines(server: ServerProcess, order_ids: Iterable[int]) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)) as client:
        client.request("POST", "/orders", lines_of(order_ids), {"Content-Type": "application/x-ndjson"})
        response = client.getresponse()
        return Answer(response.status, response.headers, json.loads(response.read()))


def total(server: ServerProcess) -> int:
    found: int = server.get("/metrics").body["total_orders"]
    return found


def stored_ids(path: Path) -> set[int]:
    with connect_to(path) as connection:
        return {order_id for (order_id,) in connection.execute("SELECT order_id FROM orders")}


def counts(accepted: int, duplicates: int = 0) -> dict[str, Any]:
    return {"accepted": accepted, "duplicates": duplicates, "rejected": [], "rejected_total": 0, "refused_total": 0}


@pytest.mark.slow
def test_curl_sends_a_file_of_orders(tmp_path: Path) -> None:
    need("curl")
    (tmp_path / "orders.ndjson").write_bytes(lines_of(range(1, 20_001)))
    with ServerProcess(tmp_path / "orders.db") as server:
        for expected in (counts(20_000), counts(0, 20_000)):
            assert curl(server, tmp_path / "orders.ndjson") == expected
        wait_until_processed(server)
        assert_counts(server, Completed=20_000)
        assert server.stop() == 0


def curl(server: ServerProcess, path: Path) -> Any:
    """Sends the whole file and returns the body of the response."""
    command = ["curl", "-sS", "-X", "POST", "-T", str(path), "-H", "Content-Type: application/x-ndjson"]
    url = f"http://127.0.0.1:{server.port}/orders"
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=HANGS_AFTER_S, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_an_interrupted_upload_that_is_sent_again_is_counted_exactly(tmp_path: Path) -> None:
    need("curl")
    count = 200_000
    path = tmp_path / "orders.ndjson"
    path.write_bytes(lines_of(range(1, count + 1)))
    with ServerProcess(tmp_path / "orders.db") as server:
        command = ["curl", "-sS", "-X", "POST", "-T", str(path), "-H", "Content-Type: application/x-ndjson"]
        with subprocess.Popen([*command, f"http://127.0.0.1:{server.port}/orders"]) as cut:
            wait_until(lambda: total(server) > count // 10)
            cut.kill()
        view = curl(server, path)
        assert view == counts(view["accepted"], count - view["accepted"])
        assert view["duplicates"] > count // 10
        assert total(server) == count
        wait_until_processed(server)
        assert_counts(server, Completed=count)
        assert server.memory_kib("VmHWM") < 100 * 1024


@pytest.mark.slow
def test_curl_gets_a_503_before_it_has_sent_the_whole_file(tmp_path: Path) -> None:
    need("curl")
    path = tmp_path / "orders.ndjson"
    path.write_bytes(lines_of(range(1, 20_001)))
    with path.open("ab") as file:
        file.truncate(512 * 1024 * 1024)
    with ServerProcess(tmp_path / "orders.db") as server:
        with full_disk(server):
            view = curl(server, path)
        assert (view["status"], view["type"]) == (503, "/problems/storage-unavailable")
        assert view["accepted"] == total(server) < 20_000


@pytest.mark.slow
def test_a_full_backlog_refuses_only_new_orders(tmp_path: Path) -> None:
    module = UserModule(tmp_path, "wait_at_gate()")
    with module, module.server("--max-backlog", "1000", "--workers", "1") as server:
        sent = post_lines(server, range(1, 20_001))
        assert (sent.status, sent.body["accepted"]) == (202, total(server))
        # 1,001 if one order is already Processing: this order is not in the backlog.
        assert sent.body["accepted"] in (1_000, 1_001)
        assert sent.body["refused_total"] == 20_000 - sent.body["accepted"]
        refused = server.post(order(1_000_000))
        assert (refused.status, refused.body["type"]) == (503, "/problems/overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert server.get("/order/1000000").status == 404
        assert server.post(order(1)).headers["Idempotent-Replayed"] == "true"
        assert server.post(order(1) | {"user_id": 999}).status == 409


@pytest.mark.slow
def test_memory_does_not_grow_if_the_client_is_faster_than_the_disk(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, OrderStream(server.port) as stream:
        stream.send()
        wait_until(lambda: total(server) == stream.sent)
        before_kib = server.memory_kib()
        with locked_database(server):
            data = padded_lines(range(stream.sent + 1, stream.sent + PADDED_ORDERS + 1))
            left = send_until_blocked(stream.socket, b"%x\r\n%b\r\n" % (len(data), data))
            grown_kib = server.memory_kib() - before_kib
            print(f"{(len(data) - len(left)) >> 10} of {len(data) >> 10} KiB sent, {grown_kib} KiB of memory")
            # The buffers of the two sockets hold some of the data.
            assert len(left) > len(data) / 2
            assert grown_kib < 8 * 1024
            assert server.get("/livez").status == 200
        stream.socket.settimeout(DEADLINE_S)
        stream.socket.sendall(left)
        view = stream.end()
        assert (view.status, view.body) == (202, counts(stream.sent + PADDED_ORDERS))
        assert total(server) == stream.sent + PADDED_ORDERS


PADDED_ORDERS = 5_000


def padded_lines(order_ids: Iterable[int]) -> bytes:
    """Orders as lines of 8 KiB, so that a few orders fill the buffers."""
    return b"".join(line.ljust(8_191) + b"\n" for line in lines_of(order_ids).splitlines())


def send_until_blocked(client: socket.socket, data: bytes) -> bytes:
    """Sends until nothing can be sent for half a second. Returns the data that was not sent."""
    client.settimeout(0.5)
    left = memoryview(data)
    while left:
        try:
            left = left[client.send(left[:65_536]) :]
        except TimeoutError:
            break
    return bytes(left)


@pytest.mark.slow
def test_no_accepted_order_is_lost_if_the_disk_fills_up_during_a_stream(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, OrderStream(server.port) as stream:
        stream.send()
        wait_until(lambda: total(server) == stream.sent)
        with full_disk(server):
            stream.send_until_refused()
            refused = stream.answer()
        assert (refused.status, refused.body["type"]) == (503, "/problems/storage-unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        accepted = refused.body["accepted"]
        assert ORDERS_A_CHUNK <= accepted == total(server) < stream.sent
        again = post_lines(server, range(1, stream.sent + 1))
        assert (again.status, again.body) == (202, counts(stream.sent - accepted, accepted))
        wait_until_processed(server)
        assert_counts(server, Completed=stream.sent)


@pytest.mark.slow
def test_a_lock_held_beyond_the_deadline_ends_a_stream_with_a_503_and_counts(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, OrderStream(server.port) as stream:
        stream.send()
        wait_until(lambda: total(server) == stream.sent)
        wait_until_processed(server)
        with locked_database(server):
            stream.send(10)
            refused = stream.end()
        assert (refused.status, refused.body["type"]) == (503, "/problems/storage-busy")
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.body["accepted"] == ORDERS_A_CHUNK == total(server)
        assert post_lines(server, range(1, 511)).body == counts(10, ORDERS_A_CHUNK)


@pytest.mark.slow
def test_a_stop_during_a_stream_loses_no_accepted_order(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, OrderStream(server.port) as stream:
        sending = threading.Thread(target=stream.send_until_refused)
        sending.start()
        wait_until(lambda: total(server) > 5_000)
        server.signal(signal.SIGTERM)
        sending.join(DEADLINE_S)
        answer = stream.answer()
        assert (answer.status, answer.body["type"]) == (503, "/problems/stopping")
        assert answer.headers["Connection"] == "close"
        assert server.wait() == 0
        assert "Traceback" not in server.log
        assert "in flight" not in server.log
    accepted = answer.body["accepted"]
    assert stored_ids(tmp_path / "orders.db") == set(range(1, accepted + 1))
    with ServerProcess(tmp_path / "orders.db") as server:
        view = post_lines(server, range(1, accepted + 11))
        assert view.body == counts(10, accepted)


@pytest.mark.slow
def test_a_stop_answers_a_stream_that_sends_nothing_more(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", "--drain-timeout", "5") as server, OrderStream(server.port) as stream:
        stream.send()
        wait_until(lambda: total(server) == stream.sent)
        assert server.stop() == 0
        answer = stream.answer()
        assert (answer.status, answer.body["accepted"]) == (503, stream.sent)
    assert stored_ids(tmp_path / "orders.db") == set(range(1, stream.sent + 1))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(8))
def test_each_stream_gets_one_response_at_a_stop(tmp_path: Path, number: int) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, contextlib.ExitStack() as streams:
        load = PostingClients(server.port, first_id=1_000_000_000)
        uploads = [streams.enter_context(OrderStream(server.port, first_id=1 + each * 10_000_000)) for each in range(4)]
        # The chunks are short, so some streams wait for their client while others wait for the disk.
        threads = [threading.Thread(target=each.send_until_refused, args=(20,)) for each in uploads]
        for thread in threads:
            thread.start()
        wait_until(lambda: total(server) > 1_000 + number * 100)
        server.signal(signal.SIGTERM)
        for thread in threads:
            thread.join(DEADLINE_S)
        assert [each.answers() for each in uploads] == [[503]] * 4
        streams.close()
        load.join()
        assert server.wait() == 0
        assert "Traceback" not in server.log
        assert "in flight" not in server.log


@pytest.mark.slow
def test_a_stream_gets_one_response_at_a_stop_while_another_program_holds_the_lock(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, OrderStream(server.port) as stream:
        with locked_database(server):
            stream.send(1)
            # Tornado serves this request after the stream. The plain lane would serve /livez before it.
            assert server.get("/metrics").status == 200
            server.signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in server.log)
            stream.send(1)
            assert not select.select([stream.socket], [], [], 0.5)[0]
        assert stream.answers() == [503]
        stream.socket.close()
        assert server.wait() == 0
        assert "Traceback" not in server.log
        assert "in flight" not in server.log
    assert stored_ids(tmp_path / "orders.db") == {1}


@pytest.mark.slow
def test_kill_9_during_streams_loses_no_order_that_a_response_counted(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    counted: set[int] = set()
    for number in range(5):
        with ServerProcess(tmp_path / "orders.db") as server:
            uploads = [Uploads(server, first_id=1 + number * 10_000_000 + each * 1_000_000) for each in range(3)]
            wait_until(partial(all_have_counted, uploads))
            server.assert_alive_for(chance.uniform(0.0, 0.3))
            server.kill()
            for each in uploads:
                each.join()
                counted |= each.counted
        assert counted <= stored_ids(tmp_path / "orders.db")
    with ServerProcess(tmp_path / "orders.db") as server:
        wait_until_processed(server)
        assert_counts(server, Completed=len(stored_ids(tmp_path / "orders.db")))
    print(f"5 kills, {len(counted)} orders counted in responses, 0 missing")


def all_have_counted(uploads: Iterable["Uploads"]) -> bool:
    return all(each.counted for each in uploads)


class Uploads:
    """A thread that sends one stream of orders after another. `counted` has the ids of the orders that got a 202."""

    def __init__(self, server: ServerProcess, *, first_id: int) -> None:
        self.counted: set[int] = set()
        self._server = server
        self._next_id = first_id
        self._thread = threading.Thread(target=self._post)
        self._thread.start()

    def _post(self) -> None:
        while True:
            order_ids = range(self._next_id, self._next_id + 2_000)
            try:
                answer = post_lines(self._server, order_ids)
            except (OSError, http.client.HTTPException):
                return  # the server was killed: only orders with a response count
            assert (answer.status, answer.body) == (202, counts(2_000))
            self.counted.update(order_ids)
            self._next_id += 2_000

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


@pytest.mark.slow
def test_single_orders_are_accepted_during_a_stream(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, OrderStream(server.port) as stream, server.client() as client:
        is_sending = threading.Event()
        is_sending.set()
        sending = threading.Thread(target=send_while, args=(stream, is_sending))
        sending.start()
        wait_until(lambda: total(server) > 0)
        begun = total(server)
        for order_id in range(1_000_000_000, 1_000_000_100):
            assert client.post(order(order_id)).status == 202
        taken = total(server) - begun
        is_sending.clear()
        sending.join(DEADLINE_S)
        assert stream.end().body == counts(stream.sent)
        assert total(server) == stream.sent + 100
    print(f"{taken} orders of a stream were stored while 100 single orders were sent")
    # Each single order waits for two commits: the commit that runs, and its own commit. A commit has about 1,500 orders
    # at most.
    assert taken < 100 * 10_000


def send_while(stream: OrderStream, is_sending: threading.Event) -> None:
    while is_sending.is_set():
        stream.send()


@pytest.mark.slow
def test_clients_that_disconnect_during_a_stream_leak_no_memory_or_files(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        assert post_lines(server, range(1, ORDERS_A_CHUNK + 1)).body["accepted"] == ORDERS_A_CHUNK
        for _ in range(20):
            with OrderStream(server.port) as stream:
                stream.send()
        files = server.open_files()
        before_kib = server.memory_kib()
        for _ in range(200):
            with OrderStream(server.port) as stream:
                stream.send()
        wait_until(lambda: server.open_files() <= files)
        assert server.memory_kib() - before_kib < 8 * 1024
        assert post_lines(server, range(1, ORDERS_A_CHUNK + 11)).body["duplicates"] == ORDERS_A_CHUNK
        assert server.stop() == 0
        assert "in flight" not in server.log
