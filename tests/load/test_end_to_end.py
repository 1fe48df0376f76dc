"""Tests the load generator against the real server, in separate processes."""

import json
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.load.report.test_page_in_chromium import found_at
from tests.process import HANGS_AFTER_S, ROOT, ServerProcess, need, run_server, wait_until, with_open_files

NUMBER = re.compile('<data value="([^"]+)" data-field="([^"]+)">')
FEW_FILES = with_open_files(1024, 1024)


def run_load(server: ServerProcess, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FEW_FILES, sys.executable, "-m", "load", "--url", f"http://127.0.0.1:{server.port}", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )


@pytest.mark.slow
def test_a_thousand_orders_at_once_need_at_most_1024_open_files_on_each_side(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db", before=FEW_FILES) as server:
        done = run_load(server, "--json", str(tmp_path / "result.json"))
        assert done.returncode == 0, done.stderr
        assert "Read back 1000 of 1000 acknowledged orders: none lost, none different, all processed" in done.stdout
        result = json.loads((tmp_path / "result.json").read_text())
        assert (result["sent"], result["accepted"], result["errors"]) == (1000, 1000, 0)
        metrics = server.get("/metrics").body
        assert (metrics["total_orders"], metrics["completed_orders"]) == (1000, 1000)


@pytest.mark.slow
def test_a_replay_sends_the_file_unchanged_and_reads_it_back(tmp_path: Path) -> None:
    amounts = [Decimal(cents) / 100 for cents in range(1, 2_000, 3)]
    template = '{"order_id": %d, "user_id": 4, "item_ids": [1, 1, 2], "total_amount": %s, "metadata": {"n": 1.0}}'
    lines = [template % numbered for numbered in enumerate(amounts, 1)]
    replay = tmp_path / "orders.ndjson"
    replay.write_text("\n".join(lines) + "\n")
    with ServerProcess(tmp_path / "orders.db") as server:
        first = run_load(server, "--replay", str(replay))
        assert first.returncode == 0, first.stderr
        assert f"Read back {len(lines)} of {len(lines)} acknowledged orders: none lost, none different" in first.stdout
        again = run_load(server, "--replay", str(replay), "--json", str(tmp_path / "again.json"))
        assert again.returncode == 0, again.stderr
        result = json.loads((tmp_path / "again.json").read_text())
        assert (result["accepted"], result["duplicates"]) == (0, len(lines))
        assert server.get("/metrics").body["total_orders"] == len(lines)


def report_of(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "orders"),
    [
        (["--rate", "1000", "--duration", "0.5", "--warm-up", "0.1"], 600),
        (["--bulk", "1000", "--orders", "5500"], 5_500),
        (["--bulk", "100", "--rate", "5000", "--duration", "0.5"], 2_500),
    ],
)
def test_each_way_to_send_loses_no_order(flags: list[str], orders: int, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    with ServerProcess(tmp_path / "orders.db") as server:
        done = run_load(server, *flags, "--json", "-", "--report", str(page))
        result = report_of(done)
        assert server.get("/metrics").body["completed_orders"] == orders
    assert (result["accepted"], result["read_back"]["read"], result["passed"]) == (orders, orders, True)
    assert f"Read back {orders} of {orders} acknowledged orders: none lost" in done.stderr
    numbers = NUMBER.findall(page.read_text())
    assert {"accepted", "orders_per_second", "latency_p99_ms"} <= {field for _, field in numbers}
    assert [(field, value) for value, field in numbers if float(value) != found_at(field, result)] == []


@pytest.mark.slow
def test_a_server_with_keys_and_tls_is_loaded(tmp_path: Path) -> None:
    need("openssl")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    name = ["-subj", "/CN=orders", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*new, *name, "-keyout", "key.pem", "-out", "cert.pem"], cwd=tmp_path, check=True, capture_output=True
    )
    _, printed, _ = run_server("--new-api-key", "load", "--scope", "write")
    key, line = printed.splitlines()[1], printed.splitlines()[-1]
    (tmp_path / "keys.txt").write_text(f"{line}\n")
    files = {"--tls-cert": "cert.pem", "--tls-key": "key.pem", "--api-keys": "keys.txt"}
    flags = [text for flag, file in files.items() for text in (flag, str(tmp_path / file))]
    with ServerProcess(tmp_path / "orders.db", *flags) as server:
        url = f"https://127.0.0.1:{server.port}"
        command = [sys.executable, "-m", "load", "--url", url, "--orders", "200", "--concurrency", "20"]

        def run(**environment: str) -> subprocess.CompletedProcess[str]:
            clean = {name: value for name, value in os.environ.items() if name != "ORDERS_KEY"}
            return subprocess.run(
                command,
                cwd=ROOT,
                env={**clean, **environment},
                capture_output=True,
                text=True,
                timeout=HANGS_AFTER_S,
                check=False,
            )

        trusted = str(tmp_path / "cert.pem")
        good = run(SSL_CERT_FILE=trusted, ORDERS_KEY=key)
        keyless = run(SSL_CERT_FILE=trusted)
        distrustful = run(ORDERS_KEY=key)
    assert (good.returncode, good.stderr) == (0, "")
    assert "Read back 200 of 200 acknowledged orders: none lost" in good.stdout
    assert (keyless.returncode, distrustful.returncode) == (1, 1)
    assert keyless.stderr == (
        f"python -m load: {url} requires an API key (--api-key or the environment variable ORDERS_KEY): status 401\n"
    )
    assert distrustful.stderr == f"python -m load: The certificate of {url} is not trusted: self-signed certificate\n"


@pytest.mark.slow
def test_two_ctrl_c_end_it_without_a_traceback(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        url = f"http://127.0.0.1:{server.port}"
        with subprocess.Popen(
            [sys.executable, "-m", "load", "--url", url, "--rate", "100", "--duration", "60"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_until(lambda: server.get("/metrics").body["total_orders"] > 0)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=HANGS_AFTER_S)
        assert process.returncode in (130, -signal.SIGINT)
        assert "Traceback" not in err
