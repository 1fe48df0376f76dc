"""The CPU time, memory and system buffers for many clients that read long responses slowly."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.process import ROOT, ServerProcess, order

READERS = 1_000
FILES = ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json")
LONG_LIST = "/orders?limit=200"
MAX_RATIO = 2.0
MAX_BUFFERED_BYTES = 32 * 1024
"""The most bytes that the system is allowed to buffer for one connection."""
MAX_GROWTH_KIB = 12 * 1024
"""12 KiB for each reader. This is less than a copy of a requested file needs."""

pytestmark = pytest.mark.slow


class Cost(NamedTuple):
    """CPU time of the event loop, growth of memory, and the most bytes that the system buffers for a connection."""

    cpu_s: float
    growth_kib: int
    buffered_bytes: int


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "orders.db") as server:
        yield server


def loop_cpu_s(server: ServerProcess) -> float:
    """The CPU time of the main thread since its start. Other programs change latencies, but hardly CPU time."""
    return int(Path(f"/proc/{server.pid}/task/{server.pid}/schedstat").read_text().split()[0]) / 1e9


def buffered_bytes(port: int) -> int:
    """The most bytes that the system buffers for a connection of the server on this port."""
    table = Path("/proc/net/tcp").read_text()
    return max(int(size, 16) for size in re.findall(rf": [0-9A-F]{{8}}:{port:04X} \S+ 01 ([0-9A-F]+):", table))


def cost_of(server: ServerProcess, *paths: str) -> Cost:
    """The cost of `READERS` clients that request these paths, until each has received the first bytes."""
    command = [sys.executable, "-m", "tests.slow_readers", str(server.port), str(READERS), *paths]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as readers:
        assert readers.stdin
        assert readers.stdout
        assert readers.stdout.readline() == "connected\n"
        assert server.get("/livez").status == 200  # after this response, the server has accepted all connections
        before_s, before_kib = loop_cpu_s(server), server.memory_kib()
        readers.stdin.write("ask\n")
        readers.stdin.flush()
        assert readers.stdout.readline() == "answered\n"
        cost = Cost(loop_cpu_s(server) - before_s, server.memory_kib() - before_kib, buffered_bytes(server.port))
        readers.stdin.close()
    print(paths, cost)
    assert readers.returncode == 0
    return cost


def test_slow_readers_of_files_cost_little_time_and_memory(server: ServerProcess) -> None:
    cost_of(server, "/livez")
    least = cost_of(server, "/livez")
    cost = cost_of(server, *FILES)
    assert cost.cpu_s <= MAX_RATIO * least.cpu_s
    assert cost.growth_kib <= MAX_GROWTH_KIB
    assert cost.buffered_bytes <= MAX_BUFFERED_BYTES


def test_the_system_buffers_little_of_a_long_list(server: ServerProcess) -> None:
    with server.client() as client:
        for number in range(1, 201):
            assert client.post(order(number)).status == 202
        assert len(client.ask("GET", LONG_LIST).body["orders"]) == 200
    assert cost_of(server, LONG_LIST).buffered_bytes <= MAX_BUFFERED_BYTES
