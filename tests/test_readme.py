"""The README's own commands, run as they stand."""

import json
import re
import subprocess
from pathlib import Path

from tests.process import ROOT, ServerProcess, need
from tests.test_server_stop import wait_until_processed

ORDER_FIELDS = ["order_id", "user_id", "item_ids", "total_amount", "status", "created_time", "processed_time"]
METRICS_FIELDS = ["total_orders", "avg_processing_time", "pending_orders", "processing_orders", "completed_orders"]


def curl_commands() -> list[str]:
    return re.findall(r"^curl .*$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_the_three_requests_of_the_readme_answer_as_it_says(tmp_path: Path) -> None:
    need("curl")
    post, get, metrics = curl_commands()[:3]
    with ServerProcess(tmp_path / "orders.db") as server:

        def run(command: str) -> str:
            command = command.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{server.port}")
            return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout

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
