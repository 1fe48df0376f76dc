"""The log and the output of a real server when no program reads them, or when they can't be written."""

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.live_orders import wait_until_processed
from tests.process import DEADLINE_S, ROOT, Client, ServerProcess, order, wait_until
from tests.receiver import SECRET, Receiver, Reply
from tests.user_module import UserModule

pytestmark = pytest.mark.slow

LONG_PATH = "/order/1?x=" + "x" * 1_500
DRAIN_TIMEOUT_S = 0.2
LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class PipedServer:
    """A server whose stderr and stdout are pipes that nothing reads. `streams` can replace a pipe by another stream."""

    def __init__(self, folder: Path, *flags: str, **streams: int | IO[bytes]) -> None:
        self._port = 0
        command = [sys.executable, "server.py", "--port", "0", "--database", str(folder / "orders.db")]
        self.process = subprocess.Popen(
            [*command, "--drain-timeout", str(DRAIN_TIMEOUT_S), *flags],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": ""},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
        )

    def __enter__(self) -> "PipedServer":
        try:
            wait_until(self._is_listening)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def _is_listening(self) -> bool:
        assert self.process.poll() is None, "the server has ended"
        process = Path(f"/proc/{self.process.pid}")
        files = {str(file.readlink()) for file in (process / "fd").iterdir()}
        for line in (process / "net" / "tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in files:
                self._port = int(fields[1].partition(":")[2], 16)
        return self._port > 0

    def client(self) -> contextlib.closing[Client]:
        return contextlib.closing(Client(self._port))

    def stop(self) -> int:
        """Sends one SIGTERM. Returns the exit status."""
        self.process.terminate()
        begin_s = time.monotonic()
        status: int = self.process.wait(DEADLINE_S)
        print(f"ended {time.monotonic() - begin_s:.2f} s after SIGTERM")
        return status


def full_pipe() -> tuple[int, int]:
    """The ends of a pipe in which there is no room for another byte."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    os.set_blocking(writer, True)
    return reader, writer


@pytest.fixture
def full() -> Iterator[int]:
    """The writing end of a full pipe that nobody reads."""
    reader, writer = full_pipe()
    yield writer
    os.close(reader)
    os.close(writer)


def dropped_lines(client: Client) -> int:
    client.request("GET", "/metrics/prometheus")
    found = re.search(rb"^orders_log_lines_dropped_total (\S+)$", client.getresponse().read(), re.MULTILINE)
    assert found
    return int(float(found[1]))


def test_a_log_that_nobody_reads_delays_no_request_and_reports_the_missing_lines(tmp_path: Path) -> None:
    with PipedServer(tmp_path, "--access-log") as server, server.client() as client:
        requests = 0
        while not dropped_lines(client):
            assert [client.ask("GET", LONG_PATH).status for _ in range(100)] == [404] * 100
            requests += 101
        assert client.post(order(1)).status == 202
        requests += 2
        log = server.process.stderr
        assert log
        text = b""
        while b"log lines were dropped" not in text:
            assert select.select([log], [], [], DEADLINE_S)[0]
            text += os.read(log.fileno(), 1_000_000)
        assert client.ask("GET", "/livez").status == 200
        dropped = dropped_lines(client)
        requests += 2
        assert server.stop() == 0
        lines = (text + log.read()).decode().splitlines()
    [report] = [number for number, line in enumerate(lines) if "were dropped" in line]
    assert lines[report].endswith(f" WARNING {dropped} log lines were dropped because stderr did not take them")
    accesses = [number for number, line in enumerate(lines) if " INFO request method=" in line]
    assert len(accesses) == requests - dropped
    assert [number > report for number in accesses[-3:]] == [False, True, True]
    assert "listening on" in lines[0]
    assert lines[-1].endswith(" INFO stopped")


@pytest.mark.parametrize("log", ["/dev/full", "closed pipe", "full pipe"])
def test_a_log_that_can_not_be_written_harms_nothing(tmp_path: Path, log: str, full: int) -> None:
    with contextlib.ExitStack() as stack:
        if log == "/dev/full":
            stderr = os.open(log, os.O_WRONLY)
            stack.callback(os.close, stderr)
        elif log == "closed pipe":
            reader, stderr = os.pipe()
            os.close(reader)
            stack.callback(os.close, stderr)
        else:
            stderr = full
        server = stack.enter_context(PipedServer(tmp_path, "--access-log", stderr=stderr))
        client = stack.enter_context(server.client())
        assert [client.post(order(number)).status for number in range(1, 101)] == [202] * 100
        if log != "full pipe":
            wait_until(lambda: dropped_lines(client) >= 100)
        assert server.stop() == 0


def test_a_refused_start_ends_although_nobody_reads_the_log(tmp_path: Path, full: int) -> None:
    command = [sys.executable, "server.py", "--port", "0", "--database", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, stderr=full, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("length", [10, 100_000], ids=["buffered output", "blocked function"])
def test_a_stop_does_not_wait_for_a_function_whose_output_nobody_reads(tmp_path: Path, length: int, full: int) -> None:
    flags = ["--processor", "shop:process"]
    with (
        UserModule(tmp_path, f"print('x' * {length})"),
        PipedServer(tmp_path, *flags, stdout=full) as server,
        server.client() as client,
    ):
        assert client.post(order(1)).status == 202
        wanted = "Completed" if length == 10 else "Processing"
        wait_until(lambda: client.ask("GET", "/order/1").body["status"] == wanted)
        assert server.stop() == 0


def test_a_stop_succeeds_although_the_output_of_a_function_can_not_be_written(tmp_path: Path) -> None:
    flags = ["--processor", "shop:process"]
    with (
        UserModule(tmp_path, "print('hello')"),
        PipedServer(tmp_path, *flags) as server,
        server.client() as client,
    ):
        assert server.process.stdout
        server.process.stdout.close()
        assert client.post(order(1)).status == 202
        wait_until(lambda: client.ask("GET", "/order/1").body["status"] == "Completed")
        assert server.stop() == 0


def test_what_a_function_logs_and_python_reports_is_in_the_format_of_the_log(tmp_path: Path) -> None:
    setup = "import logging, threading, warnings"
    body = """
        logging.warning("of the parent")
        child = os.fork()
        if not child:
            logging.warning("of the child")
            os._exit(0)
        os.waitpid(child, 0)
        logging.warning("%d", "no number")
        warnings.warn("careful")
        class Unhappy:
            def __del__(self):
                raise ValueError("unhappy")
        Unhappy()
        def end():
            raise OSError("unheard")
        thread = threading.Thread(target=end, name="mine")
        thread.start()
        thread.join()
    """
    with UserModule(tmp_path, body, setup=setup) as shop, shop.server("--log-format", "json") as server:
        assert server.post(order(1)).status == 202
        wait_until_processed(server)
        assert server.stop() == 0
    records = [json.loads(line) for line in server.log.splitlines()]
    assert {record["message"] for record in records[1:3]} == {"of the parent", "of the child"}
    assert re.search(r"/shop\.py:\d+: can't format this log message: TypeError$", records[3]["message"])
    assert ": UserWarning: careful\n" in records[4]["message"]
    assert records[5]["traceback"].endswith("\nValueError: unhappy")
    assert records[5]["level"] == "ERROR"
    assert (records[6]["level"], records[6]["message"]) == ("ERROR", "an exception ended the thread mine")
    assert records[6]["traceback"].endswith("\nOSError: unheard")
    assert [record["message"] for record in records[7:]] == ["stopping", "stopped"]


def test_one_request_id_is_in_the_access_log_the_line_of_a_failed_attempt_and_the_webhook(tmp_path: Path) -> None:
    flags = ("--log-format", "json", "--access-log", "--processor", "webhook", "--webhook-secret", SECRET)
    body = json.dumps({**order(7), "user_id": 3})
    trace = {"X-Request-Id": "checkout-1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with (
        Receiver(lambda delivery: Reply(500 if delivery.number == 1 else 200)) as receiver,
        ServerProcess(tmp_path / "orders.db", *flags, "--webhook-url", receiver.url) as server,
        server.client() as client,
    ):
        client.request("POST", "/order", body, {"Content-Type": "application/json", **trace})
        answer = client.answer()
        assert (answer.status, answer.headers["X-Request-Id"]) == (202, "checkout-1")
        wait_until_processed(server)
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log.splitlines()]
        deliveries = [each.headers for found in receiver.deliveries.values() for each in found]
    [access] = [line for line in lines if line.get("path") == "/order"]
    assert (access["order_id"], access["request_id"]) == (7, "checkout-1")
    [failure] = [line for line in lines if "attempt" in line]
    assert failure["message"].startswith("order 7: attempt 1 failed, it will be retried: ")
    assert {name: failure[name] for name in ("order_id", "user_id", "attempt", "request_id")} == {
        "order_id": 7,
        "user_id": 3,
        "attempt": 1,
        "request_id": "checkout-1",
    }
    assert [(each["x-request-id"], each["traceparent"]) for each in deliveries] == [tuple(trace.values())] * 2


LOGGING = """
    import asyncio
    import logging
    import threading

    log = logging.getLogger("fulfil")

    def log_line():
        log.warning("packed", extra={"fields": {"boxes": 2}})

    async def run(order):
        await asyncio.sleep(0)
        log_line()

    def returns_coroutine(order):
        return run(order)

    def log_on_a_thread(order):
        thread = threading.Thread(target=log_line)
        thread.start()
        thread.join()
"""


@pytest.mark.parametrize("function", ["process", "run", "returns_coroutine", "log_on_a_thread"])
def test_the_lines_of_a_function_have_the_fields_of_the_order(tmp_path: Path, function: str) -> None:
    flags = ("--log-format", "json", "--processor", f"shop:{function}")
    with UserModule(tmp_path, "log_line()", setup=LOGGING) as shop, shop.server(*flags) as server:
        with server.client() as client:
            for order_id in (7, 8):
                headers = {"Content-Type": "application/json", "X-Request-Id": f"checkout-{order_id}"}
                client.request("POST", "/order", json.dumps({**order(order_id), "user_id": 3}), headers)
                assert client.answer().status == 202
        wait_until_processed(server)
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log.splitlines()]
    for line in lines:
        del line["time"]
    packed = [line for line in lines if line["message"] == "packed"]
    fields = (
        {7: {}, 8: {}}
        if function == "log_on_a_thread"
        else {
            order_id: {"order_id": order_id, "user_id": 3, "attempt": 1, "request_id": f"checkout-{order_id}"}
            for order_id in (7, 8)
        }
    )
    expected = [{"level": "WARNING", "message": "packed", **each, "boxes": 2} for each in fields.values()]
    assert sorted(packed, key=str) == sorted(expected, key=str)
    assert [line for line in lines if "order_id" in line and line["message"] != "packed"] == []
