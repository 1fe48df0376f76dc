"""The benchmark's parts; what it measures is never a test."""

import json
import re
import time
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path

import pytest

from load.bench.command import main
from load.bench.pace import Pace, measure_pace
from load.bench.plans import PLANS, Comparison
from load.bench.row import Row
from load.fill.feeder import FillFailed
from load.http.address import Address, reach
from load.system.machine import describe_machine
from load.system.server_process import ROOT, ServerProcess
from tests.process import need

# Those of many orders, which test_sizes.py runs with few.
SIZE_TRIALS = [name for name, plan in PLANS.items() if plan.needs_stored or name == "memory"]


def _server(*arguments: str, log: Path) -> ServerProcess:
    return ServerProcess(arguments, log=log, clock_s=time.monotonic)


async def _measure(
    address: Address, requests: Iterator[bytes], *, clients: int, status: int, seconds: float = 0.0
) -> Pace:
    return await measure_pace(
        address,
        requests,
        clients=clients,
        status=status,
        seconds=seconds,
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=time.process_time_ns,
    )


@pytest.mark.gen_test
async def test_the_bare_tornado_answers_as_the_contract_says_and_only_right_answers_count(tmp_path: Path) -> None:
    with _server("-m", "load.bench.bare", "--port", "0", log=tmp_path / "log") as bare:
        address = await reach(bare.url, timeout_s=5)
        posts = await _measure(address, repeat(address.post("/order", b"{}"), 20), clients=4, status=202)
        gets = await _measure(address, repeat(address.get("/order/1"), 20), clients=4, status=200)
        wrong = await _measure(address, repeat(address.get("/nowhere"), 20), clients=4, status=200)
    assert (posts.right, posts.wrong) == (20, {})
    assert (gets.right, gets.wrong) == (20, {})
    assert (wrong.right, wrong.wrong) == (0, {"status 404": 20})


@pytest.mark.gen_test
async def test_a_pace_may_end_by_time(tmp_path: Path) -> None:
    with _server("-m", "load.bench.bare", "--port", "0", log=tmp_path / "log") as bare:
        address = await reach(bare.url, timeout_s=5)
        pace = await _measure(address, repeat(address.get("/order/1")), clients=2, status=200, seconds=0.1)
    assert pace.right > 0
    assert pace.elapsed_s >= 0.1


def test_what_was_measured_before_a_trial_failed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(plan: Comparison, *others: object) -> list[Row]:
        if plan is PLANS["bulk"]:
            raise FillFailed("the disk is full")
        return [Row(name=plan.title, runs=[{"value": 1.0}])]

    monkeypatch.setattr("load.bench.command._run", measure)
    report = tmp_path / "report.json"
    assert main(["--only", "crowd", "--only", "bulk", "--folder", str(tmp_path), "--json", str(report)]) == 1
    out, err = capsys.readouterr()
    assert err == "python -m load.bench: the disk is full\n"
    assert "info  median 1.000: 1,000 clients at once" in out
    found = json.loads(report.read_bytes())
    assert (found["passed"], [row["name"] for row in found["rows"]]) == (False, ["1,000 clients at once"])


def test_a_bad_flag_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--folder", "/nowhere"])
    assert ended.value.code == 2
    assert "argument --folder: /nowhere is no folder" in capsys.readouterr().err


@pytest.mark.slow
def test_two_checkouts_are_compared_by_the_orders_that_they_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    flags = ["--runs", "1", "--seconds", "1", "--folder", str(tmp_path), "--json", str(report)]
    status = main([*flags, "--against", str(ROOT)])
    [row] = json.loads(report.read_bytes())["rows"]
    assert row["wrong_answers"] == {}
    assert min(row["runs"][0].values()) > 0
    assert status == (0 if row["passed"] else 1)
    assert f"server.py against the server in {ROOT}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_folder_without_a_server_can_not_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--against", str(tmp_path)])
    assert ended.value.code == 2
    assert f"argument --against: there is no server.py in {tmp_path}" in capsys.readouterr().err


def test_trials_can_be_named_and_only_those(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "bulk", "--only", "nothing"])
    assert ended.value.code == 2
    assert "argument --only: invalid choice: 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("orders.db", b"mine", "is no SQLite database"), ("none.db", b"", "there is no file")],
)
def test_a_file_with_no_orders_is_refused_by_its_name(
    name: str, content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orders.db").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["--stored", str(tmp_path / name)])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line
    assert str(tmp_path / name) in line


def test_a_trial_that_needs_a_file_is_a_mistake_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "stored-intake"]) == 2
    assert "without --stored FILE" in capsys.readouterr().err


def test_a_result_that_can_not_be_written_is_said_before_any_trial(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "/proc/version"]) == 1
    assert capsys.readouterr().err.startswith("python -m load.bench: /proc/version can't be written: ")


@pytest.mark.parametrize("flag", ["--only", "--stored"])
def test_another_checkout_is_compared_in_a_trial_of_its_own(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.db"
    file.write_bytes(b"SQLite format 3\0")
    flags = [flag, str(file) if flag == "--stored" else "bulk"]
    with pytest.raises(SystemExit) as ended:
        main([*flags, "--against", str(ROOT)])
    assert ended.value.code == 2
    assert f"{flags[0]} and --against exclude each other" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PLANS if name not in SIZE_TRIALS])
def test_every_trial_runs_to_its_end_and_finds_no_wrong_answer(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if PLANS[name].needs:
        need(PLANS[name].needs)
    report = tmp_path / "report.json"
    flags = ["--runs", "1", "--seconds", "1", "--folder", str(tmp_path), "--json", str(report)]
    status = main([*flags, "--only", name])
    result = json.loads(report.read_bytes())
    assert [row["wrong_answers"] for row in result["rows"]] == [{}] * (3 if name in ("intake", "generator") else 1)
    assert all(row["median"] > 0 for row in result["rows"])
    assert status == (0 if result["passed"] else 1)
    out = capsys.readouterr().out
    assert PLANS[name].title in out
    assert sum(plan.title in out for plan in PLANS.values()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.slow
def test_the_generator_is_held_against_wrk_and_against_what_bare_tornado_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need("wrk")
    report = tmp_path / "report.json"
    main(["--only", "generator", "--runs", "1", "--seconds", "1", "--folder", str(tmp_path), "--json", str(report)])
    result = json.loads(report.read_bytes())
    assert [row["must"] for row in result["rows"]] == [">= 0.50", ">= 2.00", ""]
    for row in result["rows"][0], result["rows"][2]:
        for run in row["runs"]:
            assert run["value"] == pytest.approx(run["ours_per_second"] / run["wrk_per_second"])
            assert 0 < run["wrk_cpu_us_a_request"] < 10_000
            assert 0 < run["ours_cpu_us_a_request"] < 10_000
    assert [row["void_runs"] for row in result["rows"]] == [{}] * 3
    out = capsys.readouterr().out
    assert f"\nwrk: {result['machine']['wrk']}\n" in out
    assert len(re.findall(r"CPU a request: wrk [\d.]+ µs, ours [\d.]+ µs", out)) == 2


def test_the_machine_is_described_with_versions_and_file_system(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert list(islice(machine, 3)) == ["cpus", "platform", "python"]
    assert "unknown" not in machine["file_system"]
