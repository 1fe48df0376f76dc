"""Runs `python server.py` as a process, and provides a small blocking HTTP client for it."""

import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pytest

ENGINE = "ORDERS_TEST_ENGINE"
"""If this environment variable is `postgresql`, the tests of handlers and of whole servers run on PostgreSQL, except
those with the mark `sqlite`."""
ROOT = Path(__file__).resolve().parent.parent
HIDDEN_PACKAGES = ROOT / "tests" / "hidden_packages"
DEADLINE_S = 120.0
"""A test fails if a condition is not true after this time, which is long enough for a busy machine."""
HANGS_AFTER_S = 600.0
"""A test fails if a command runs longer, because even on a busy machine no command needs this time."""
POLL_INTERVAL_S = 0.005
"""The pause between two checks of a condition. Without a pause, the checks would take CPU time from the server."""

ALIVE_INTERVAL_S = 0.05
"""The pause between two requests of `assert_alive_for`."""


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: Any


class ServerProcess:
    """Runs `python server.py` on a free port. The end of the `with` block kills the process if it still runs.

    `before` is a prefix for the command. `environment` is added to the environment of the tests.
    """

    def __init__(
        self,
        database: Path,
        *flags: str,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.database = database
        command = [*before, sys.executable, "server.py", "--port", "0", "--database", address_of(database), *flags]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(command, environment or {}),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._log: list[str] = []
        self._listening = threading.Event()
        self._port = 0
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.append(line)
            if found := re.search(r"listening on https?://127\.0\.0\.1:(\d+) .*process (\d+)", line):
                self._port, self.pid = int(found[1]), int(found[2])
                self._listening.set()
        self._listening.set()

    @property
    def port(self) -> int:
        assert self._listening.wait(DEADLINE_S), "the server does not listen"
        assert self._port, "".join(self._log)
        return self._port

    @property
    def log(self) -> str:
        return "".join(self._log)

    def __enter__(self) -> "ServerProcess":
        try:
            assert self.port
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Waits until the process has ended and its log is read. Returns the exit status."""
        status = self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return status

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    @contextmanager
    def client(self) -> Iterator["Client"]:
        """Yields a client with a keep-alive connection, and closes it at the end of the `with` block."""
        client = Client(self.port)
        try:
            yield client
        finally:
            client.close()

    def memory_kib(self, field: str = "VmRSS") -> int:
        """Returns the memory that the server uses now. The field `VmHWM` is its highest memory so far."""
        found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1])

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def assert_alive_for(self, duration_s: float) -> None:
        """Checks for this duration that the server responds. Tests use this to wait for a random time before a kill."""
        end_s = time.monotonic() + duration_s
        pause = threading.Event()
        while (left_s := end_s - time.monotonic()) > 0:
            assert self.get("/livez").status == 200
            pause.wait(min(left_s, ALIVE_INTERVAL_S))

    def get(self, path: str) -> Answer:
        with self.client() as client:
            return client.ask("GET", path)

    def post(self, order: Mapping[str, Any]) -> Answer:
        with self.client() as client:
            return client.post(order)


def _environment(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server. A server on SQLite finds only packages that requirements.txt installs.

    Peewee and msgspec would import two others. Importing these packages would take a fifth of the CPU time of a start.
    """
    merged = {**os.environ, **environment}
    if not any("postgresql:" in each for each in [*command, *environment.values()]):
        merged["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HIDDEN_PACKAGES), merged.get("PYTHONPATH")]))
    return merged


def address_of(path: Path) -> str:
    """The value of --database: the file, or the URL of the PostgreSQL database that stands for it."""
    if not is_on_postgresql():
        return str(path)
    # Imported only here, because the tests on SQLite do not need psycopg.
    from tests.postgresql.server_databases import url_for

    return url_for(path)


class Client(http.client.HTTPConnection):
    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, timeout=DEADLINE_S)

    def send_order(self, order: Mapping[str, Any]) -> None:
        self.putrequest("POST", "/order")
        body = json.dumps(order).encode()
        self.putheader("Content-Type", "application/json")
        self.putheader("Content-Length", str(len(body)))
        self.endheaders(body)

    def answer(self) -> Answer:
        response = self.getresponse()
        body = response.read()
        return Answer(response.status, response.headers, json.loads(body) if body else None)

    def post(self, order: Mapping[str, Any]) -> Answer:
        self.send_order(order)
        return self.answer()

    def ask(self, method: str, path: str) -> Answer:
        if self.sock is None:
            self.connect()  # before the request, so that this client can be used again if the connection is refused
        self.request(method, path)
        return self.answer()


def is_on_postgresql() -> bool:
    """Whether the tests of handlers and of whole servers run on PostgreSQL."""
    return os.environ.get(ENGINE) == "postgresql"


def with_open_files(soft: int, hard: int) -> list[str]:
    """Returns a prefix for a command. With it, the command runs with these limits on open files."""
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"
    return [sys.executable, "-c", f"import os, resource, sys; {limit}; os.execv(sys.argv[1], sys.argv[1:])"]


def limit_file_size(pid: int, size: int) -> None:
    """Makes a write of the process fail, as on a full disk, if the write would make a file longer than `size` bytes."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until `condition` returns true. An OSError from it, such as a refused connection, counts as false."""
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if condition():
                return
        pause.wait(POLL_INTERVAL_S)
    raise AssertionError(f"the condition was not true within {DEADLINE_S:g} s")


def need(tool: str) -> None:
    """If the program `tool` is not installed, skips the test, or in CI fails the test."""
    if shutil.which(tool) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{tool} is not installed")


def order(order_id: int) -> dict[str, Any]:
    """Returns a valid order, whose values depend only on its id."""
    return {
        "order_id": order_id,
        "user_id": order_id % 97 + 1,
        "item_ids": [order_id % 13 + 1, order_id % 7 + 1],
        "total_amount": order_id % 1_000 + 0.25,
    }


def has_values_of(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Returns whether the stored order has every value that was sent."""
    return all(stored[name] == value for name, value in sent.items())


def run_server(*flags: str, environment: Mapping[str, str] | None = None, **options: Any) -> tuple[int, str, str]:
    """Runs a server that is expected to exit instead of listening. Returns the exit status, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "server.py", *flags],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


class PostingClients:
    """Runs threads that post orders without a pause, until `join` is called or the server stops."""

    def __init__(self, port: int, *, first_id: int, clients: int = 16) -> None:
        self.acknowledged: set[int] = set()
        self.refused: list[Answer] = []
        self.enough = threading.Event()
        """Set once 200 orders are acknowledged."""
        self._port = port
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._post, args=(range(first_id + n, first_id + 10_000_000, clients),))
            for n in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _post(self, ids: range) -> None:
        client = Client(self._port)
        try:
            for order_id in ids:
                if self._stop.is_set():
                    return
                answer = client.post(order(order_id))
                if answer.status == 202:
                    self.acknowledged.add(order_id)
                else:
                    self.refused.append(answer)
                if len(self.acknowledged) >= 200:
                    self.enough.set()
        except (OSError, http.client.HTTPException):
            return  # the server has stopped; an order without a response is not acknowledged
        finally:
            client.close()

    def join(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def free_port() -> tuple[socket.socket, int]:
    """Opens a listening socket on a free port. Returns the socket and the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


def processes_with(*texts: str) -> list[int]:
    """Returns the ids of the processes whose command lines contain all of the texts."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:  # the process has ended
            continue
        if all(text in line for text in texts):
            found.append(int(path.parent.name))
    return found
