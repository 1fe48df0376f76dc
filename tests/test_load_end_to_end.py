"""The load generator against the real server, both in processes of their own."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.process import DEADLINE_S, ROOT, ServerProcess, with_open_files

FEW_FILES = with_open_files(1024, 1024)


def run_load(server: ServerProcess, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FEW_FILES, sys.executable, "-m", "load", "--url", f"http://127.0.0.1:{server.port}", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.slow
def test_a_thousand_orders_at_once_need_no_more_than_1024_open_files_on_either_side(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", before=FEW_FILES) as server:
        done = run_load(server, "--json", str(tmp_path / "result.json"))
        assert done.returncode == 0, done.stderr
        assert "Read back 1000 of 1000 acknowledged orders: none lost, none different, all processed" in done.stdout
        result = json.loads((tmp_path / "result.json").read_text())
        assert (result["sent"], result["accepted"], result["errors"]) == (1000, 1000, 0)
        metrics = server.get("/metrics").body
        assert (metrics["total_orders"], metrics["completed_orders"]) == (1000, 1000)


@pytest.mark.slow
def test_a_replay_sends_the_file_as_it_stands_and_reads_the_same_sum_back(tmp_path: Path) -> None:
    amounts = [Decimal(cents) / 100 for cents in range(1, 2_000, 3)]
    template = '{"order_id": %d, "user_id": 4, "item_ids": [1, 1, 2], "total_amount": %s, "metadata": {"n": 1.0}}'
    lines = [template % numbered for numbered in enumerate(amounts, 1)]
    replay = tmp_path / "orders.ndjson"
    replay.write_text("\n".join(lines) + "\n")
    with ServerProcess(tmp_path / "orders.db") as server:
        first = run_load(server, "--replay", str(replay))
        assert first.returncode == 0, first.stderr
        assert f"Sum of total_amount: {sum(amounts)}\n" in first.stdout
        again = run_load(server, "--replay", str(replay), "--json", str(tmp_path / "again.json"))
        assert again.returncode == 0, again.stderr
        result = json.loads((tmp_path / "again.json").read_text())
        assert (result["accepted"], result["duplicates"]) == (0, len(lines))
        assert server.get("/metrics").body["total_orders"] == len(lines)
