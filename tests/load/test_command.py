"""Tests the whole command: what it prints and writes, against correct and faulty servers."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tornado.testing import bind_unused_port

from load.command import main
from load.http.connections import Timeouts
from tests.load.conftest import SHORT_TIMEOUTS, UNHURRIED, Load
from tests.load.shop import Fault, Shop
from tests.load.steps import meanwhile
from tests.process import DEADLINE_S, HANGS_AFTER_S, ROOT


def test_every_order_is_sent_once_and_read_back(load: Load, shop: Shop) -> None:
    outcome = load("--orders", "300", "--concurrency", "20")
    assert outcome.status == 0
    assert sorted(shop.ids) == list(range(1, 301))
    read_back = "Read back 300 of 300 acknowledged orders: none lost, none different, all processed (300 Completed).\n"
    assert read_back in outcome.out
    assert shop.connections <= 20 + 64 + 2
    assert outcome.err == ""


@pytest.mark.slow
def test_a_thousand_clients_connect_at_once_with_a_limit_of_1024_files(shop: Shop) -> None:
    run = subprocess.run(
        ["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", sys.executable, "-m", "load", "--url", shop.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "Read back 1000 of 1000 acknowledged orders: none lost" in run.stdout
    assert shop.connections >= 1000
    assert len(set(shop.ids)) == 1000


def test_two_runs_without_a_first_id_share_no_order(load: Load, shop: Shop) -> None:
    for _ in range(2):
        assert main(["--url", shop.url, "--orders", "50"], timeouts=UNHURRIED) == 0
    assert len(set(shop.ids)) == 100


def test_a_run_without_accepted_orders_fails(load: Load, shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 6), 503)
    outcome = load("--orders", "5")
    assert outcome.status == 1
    assert "Nothing was accepted" in outcome.out


def test_the_first_reason_for_each_status_is_shown(load: Load, shop: Shop) -> None:
    shop.refusals = {2: 422, 3: 422, 5: 409}
    outcome = load("--orders", "6", "--concurrency", "1")
    assert outcome.status == 0
    assert "Status 422, order 2 for instance: order 2 is not wanted" in outcome.out
    assert "order 3 is not wanted" not in outcome.out
    assert outcome.json["notes"] == [
        "Status 409, order 5 for instance: order 5 is not wanted",
        "Status 422, order 2 for instance: order 2 is not wanted",
    ]


@pytest.mark.slow
def test_orders_that_waited_before_the_run_are_not_waited_for(load: Load, shop: Shop) -> None:
    shop.waiting = [79, 79, 82, 80, 79]
    outcome = load("--orders", "5", timeouts=replace(SHORT_TIMEOUTS, processing_s=0.4))
    assert outcome.status == 0
    assert 0 < outcome.json["all_processed_after_s"] < 0.4
    assert shop.waiting == [79]


@pytest.mark.slow
def test_orders_that_are_being_processed_before_the_run_are_waited_for(load: Load, shop: Shop) -> None:
    # Orders are processed one by one, and the orders of the run last.
    shop.waiting = [*range(30, 35), *range(34, -1, -1)]
    shop.becomes_final_after = dict.fromkeys(range(1, 6), 1)
    outcome = load("--orders", "5", timeouts=replace(SHORT_TIMEOUTS, processing_s=0.4))
    assert (outcome.status, shop.waiting) == (0, [0])


def test_a_missing_server_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    unused, port = bind_unused_port()
    unused.close()
    assert main(["--url", f"http://127.0.0.1:{port}"]) == 1
    assert capsys.readouterr() == ("", f"python -m load: No server at http://127.0.0.1:{port}: connection refused\n")


def test_ctrl_c_prints_what_was_measured(load: Load, shop: Shop) -> None:
    shop.faults[20] = Fault.HOLD

    def interrupt() -> None:
        assert shop.steps.come(("came", 20))
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(interrupt):
        outcome = load("--orders", "100", "--concurrency", "1", timeouts=Timeouts())
    assert outcome.status == 130
    assert re.search(r"accepted +│ +19 ", outcome.out)
    assert "Interrupted" in outcome.out
    assert (outcome.json["errors_by_reason"], outcome.json["not_sent"]) == ({"interrupted": 1}, 80)
    assert (outcome.json["interrupted"], outcome.json["accepted"], outcome.json["read_back"]) == (True, 19, None)


@pytest.mark.parametrize(
    ("held", "phase"),
    [("metrics", "connecting"), ("processing", "waiting for the processing"), ("reading", "reading back")],
)
def test_ctrl_c_in_any_phase_prints_the_result(held: str, phase: str, load: Load, shop: Shop, tmp_path: Path) -> None:
    if held == "reading":
        shop.becomes_final_after = {5: 1_000_000}
    if held == "processing":
        shop.waiting = [0, 7]
    shop.holds_metrics = held == "metrics"

    def interrupt() -> None:
        assert shop.looked.wait(DEADLINE_S)
        os.kill(os.getpid(), signal.SIGINT)

    shop.looked_after = {"metrics": ("/metrics", 1), "processing": ("/metrics", 6), "reading": ("/order/5", 3)}[held]
    page = tmp_path / "page.html"
    with meanwhile(interrupt):
        outcome = load("--orders", "5", "--concurrency", "1", "--report", str(page), timeouts=UNHURRIED)
    assert (outcome.status, outcome.err) == (130, "")
    assert f"Interrupted while {phase}: this is what was measured so far" in outcome.out
    assert (outcome.json["interrupted"], outcome.json["accepted"]) == (True, 0 if held == "metrics" else 5)
    assert ("Read back 4 of 5 acknowledged orders so far: none lost" in outcome.out) is (held == "reading")
    assert page.stat().st_size > 1000


def test_the_json_goes_to_standard_output_and_the_table_to_standard_error(
    shop: Shop, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["--url", shop.url, "--orders", "5", "--json", "-"], timeouts=UNHURRIED) == 0
    out, err = capsysbinary.readouterr()
    assert json.loads(out)["accepted"] == 5
    assert "Read back 5 of 5 acknowledged orders" in err.decode()


def test_the_report_shows_the_json_result(load: Load, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = load("--orders", "10", "--report", str(page))
    assert outcome.status == 0
    assert outcome.json["started"] in page.read_text() or outcome.json["url"] in page.read_text()
    assert load("--orders", "1", "--report", "/dev/full").err.startswith("python -m load: /dev/full can't be written")


def test_the_json_file_has_the_settings_and_the_timeline(load: Load, shop: Shop) -> None:
    shop.waiting = [0, 8, 3, 0]
    result = load("--orders", "50", "--batch", "10").json
    assert (result["mode"], result["batch"], result["bulk"], result["rate_per_second"]) == ("batches", 10, None, None)
    assert (result["duration_s"], result["warm_up_s"], result["generator_late_p99_ms"]) == (None, 0, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result["started"])
    assert "file_system" not in result["machine"]
    assert {"cpus", "python", "platform"} <= result["machine"].keys()
    timeline = result["timeline"]
    assert sum(timeline["orders_per_second"]) * timeline["interval_s"] == pytest.approx(50)
    assert len({len(values) for name, values in timeline.items() if name != "interval_s"}) == 1
    # The first answer came before the run. A slow run polls more often.
    assert shop.reported_waiting[:4] == [0, 8, 3, 0]
    assert result["backlog"]["waiting"] == shop.reported_waiting[1:]
    assert result["backlog"]["time_s"] == sorted(result["backlog"]["time_s"])
    assert result["percentiles"]["latency_ms"][-1] == result["latency_max_ms"]


def test_the_json_file_has_all_of_the_table(load: Load, shop: Shop) -> None:
    # Reading this order back gives the time of processing, even if /metrics answers slowly.
    shop.becomes_final_after = {100: 1}
    result = load("--orders", "100", "--concurrency", "10").json
    assert (result["sent"], result["accepted"], result["errors"], result["passed"]) == (100, 100, 0, True)
    assert 0 < result["latency_p50_ms"] <= result["latency_p90_ms"] <= result["latency_p99_ms"]
    assert result["latency_p99_ms"] <= result["latency_p99_9_ms"] <= result["latency_max_ms"]
    assert result["orders_per_second"] == pytest.approx(100 / result["elapsed_s"])
    assert result["all_processed_after_s"] >= result["elapsed_s"]
    assert result["generator_was_the_limit"] is (result["generator_cpu_share"] > 0.9)


def test_a_json_file_that_can_t_be_written_fails_the_run(load: Load) -> None:
    outcome = load("--orders", "1", "--json", "/dev/full")
    assert outcome.status == 1
    assert outcome.err == "python -m load: /dev/full can't be written: no space left on device\n"
