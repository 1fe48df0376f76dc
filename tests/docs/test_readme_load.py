"""The README's file of orders to replay, sent to a real server as the load generator reads it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import DEADLINE_S, ROOT, ServerProcess
from tests.readme import example


@pytest.mark.slow
def test_the_csv_shown_is_replayed_as_it_stands(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text(example("order_id,user_id,item_ids,total_amount,metadata").text)
    with ServerProcess(tmp_path / "orders.db") as server:
        done = subprocess.run(
            [sys.executable, "-m", "load", "--url", f"http://127.0.0.1:{server.port}", "--replay", str(orders)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Read back 2 of 2 acknowledged orders: none lost, none different" in done.stdout
        first, second = (server.get(f"/order/{order_id}").body for order_id in (1001, 1002))
    assert (first["user_id"], first["item_ids"], first["total_amount"]) == (7, [101, 102, 102], 99.9)
    assert first["metadata"] == {"currency": "EUR"}
    assert (second["item_ids"], second["total_amount"], "metadata" in second) == ([103], 5, False)
