"""The README's own commands, run as they stand."""

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.live_orders import wait_until_processed
from tests.process import ROOT, ServerProcess, free_port, need, order

ORDER_FIELDS = ["order_id", "user_id", "item_ids", "total_amount", "status", "created_time", "processed_time"]
METRICS_FIELDS = ["total_orders", "avg_processing_time", "pending_orders", "processing_orders", "completed_orders"]


def curl_commands() -> list[str]:
    return re.findall(r"^curl .*$", (ROOT / "README.md").read_text(), re.MULTILINE)


def run_curl(server: ServerProcess, command: str) -> str:
    command = command.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{server.port}")
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def flags_after(processor: str) -> list[str]:
    """The flags of the README's command that starts the server with this processor."""
    [line] = re.findall(rf"^\S+/python server\.py .*--processor {processor}.*$", (ROOT / "README.md").read_text(), re.M)
    return shlex.split(line)[4:]


def test_the_three_requests_of_the_readme_answer_as_it_says(tmp_path: Path) -> None:
    need("curl")
    post, get, metrics = curl_commands()[:3]
    with ServerProcess(tmp_path / "orders.db") as server:
        run = partial(run_curl, server)
        head, _, body = run(post).replace("\r", "").partition("\n\n")
        assert head.startswith("HTTP/1.1 202 Accepted\n")
        assert "Location: /order/12345" in head.splitlines()
        assert body == '{"message": "Order processing initiated successfully", "order_id": "12345"}'
        wait_until_processed(server)
        stored = json.loads(run(get))
        assert list(stored)[:7] == ORDER_FIELDS
        assert {name: stored[name] for name in ORDER_FIELDS[:5]} == {
            "order_id": 12345,
            "user_id": 1,
            "item_ids": [101, 102, 103],
            "total_amount": 99.99,
            "status": "Completed",
        }
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", stored["created_time"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", stored["processed_time"])
        counts = json.loads(run(metrics))
        assert list(counts)[:5] == METRICS_FIELDS
        assert [counts[name] for name in METRICS_FIELDS[::2]] == [1, 0, 1]


def test_the_answers_shown_in_the_readme_have_the_fields_that_the_server_gives(tmp_path: Path) -> None:
    shown = [
        json.loads(line)
        for line in re.findall(r'^\{"(?:order_id|total_orders)".*$', (ROOT / "README.md").read_text(), re.MULTILINE)
    ]
    post = curl_commands()[0]
    with ServerProcess(tmp_path / "orders.db") as server:
        server.post(json.loads(re.findall(r"-d '(.*)'", post)[0]))
        assert [list(each) for each in shown] == [
            list(server.get("/order/12345").body),
            list(server.get("/metrics").body),
        ]


@pytest.mark.slow
def test_the_function_of_the_readme_completes_rejects_and_puts_off(tmp_path: Path) -> None:
    function, _ = python_blocks()
    (tmp_path / "fulfil.py").write_text(function)
    environment = {"PYTHONPATH": str(tmp_path)}
    with ServerProcess(tmp_path / "orders.db", *flags_after("fulfil"), environment=environment) as server:
        assert server.post(order(1)).status == 202
        assert server.post(order(2) | {"total_amount": 5000.01}).status == 202
        assert server.post(order(3) | {"item_ids": [999]}).status == 202
        wait_until_processed(server)
        ends = [server.get(f"/order/{order_id}").body for order_id in (1, 2, 3)]
        assert [(end["status"], end["attempts"]) for end in ends] == [("Completed", 1), ("Failed", 1), ("Completed", 2)]
        assert ends[1]["error"] == "over the limit of this shop"
        assert ends[2]["processing_time"] >= 2


def test_the_receiver_of_the_readme_takes_what_the_webhook_sends(tmp_path: Path) -> None:
    _, receiver = python_blocks()
    listener, port = free_port()
    listener.close()
    (tmp_path / "receiver.py").write_text(receiver.replace("9000", str(port)))
    environment = {"ORDERS_WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"k" * 32).decode()}
    flags = [flag.replace("9000", str(port)) for flag in flags_after("webhook")]
    with (
        subprocess.Popen(
            [sys.executable, "receiver.py"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        ServerProcess(tmp_path / "orders.db", *flags, environment=environment) as server,
    ):
        try:
            assert server.post(order(1)).status == 202
            wait_until_processed(server)
            assert server.get("/order/1").body["status"] == "Completed"
            assert process.stdout is not None
            assert process.stdout.readline() == "order 1: items [2, 2] for 1.25\n"
        finally:
            process.kill()


def test_what_the_readme_says_about_failed_orders_is_what_curl_gets(tmp_path: Path) -> None:
    need("curl")
    cancel, retry, retry_all = curl_commands()[3:]
    (tmp_path / "shop.py").write_text(
        "from workers.processors import Rejected\n\ndef no(order): raise Rejected('no')\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    with ServerProcess(tmp_path / "orders.db", "--processor", "shop:no", environment=environment) as server:
        server.post(order(12345))
        wait_until_processed(server)
        assert json.loads(run_curl(server, cancel))["order_status"] == "Failed"
        assert json.loads(run_curl(server, retry))["status"] == "Pending"
        wait_until_processed(server)
        assert json.loads(run_curl(server, retry_all)) == {"retried": 1}
