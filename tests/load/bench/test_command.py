"""Tests the benchmark's command: flags, output and trials. The measured speed is not tested."""

import json
from pathlib import Path

import pytest

from load.bench import workloads
from load.bench.command import main
from load.bench.plans import PLANS, Plan, choose_plans
from load.bench.trial import Row
from load.bench.trials import sizes
from load.cli.errors import CommandError
from load.system.server_process import ROOT
from tests.load.bench.short_trial import SHORT, run_trial
from tests.postgresql.databases import connect, execute, temporary_database
from tests.process import need

# Trials with many orders are in trials/test_sizes.py, and the trial with the worst bodies is in trials/test_stalls.py.
TRIALS = [
    name
    for name, plan in PLANS.items()
    if not (plan.needs_stored or plan.needs_database or name in ("memory", "stalls"))
]
ROWS = {"intake": 3, "stream": 2, "cost": 3}


def test_rows_measured_before_a_failure_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_plan(plan: Plan, *others: object, **flags: object) -> list[Row]:
        if plan is PLANS["steady"]:
            raise CommandError("the disk is full")
        return [Row(name=plan.title, runs=[{"value": 1.0}])]

    monkeypatch.setattr("load.bench.command.run_plan", run_plan)  # a real benchmark would take minutes
    report = tmp_path / "report.json"
    assert main(["--only", "crowd", "--only", "steady", "--folder", str(tmp_path), "--json", str(report)]) == 1
    out, err = capsys.readouterr()
    assert err == "python -m load.bench: the disk is full\n"
    assert "info  median 1.000: 1,000 clients at once" in out
    found = json.loads(report.read_bytes())
    assert (found["passed"], [row["name"] for row in found["rows"]]) == (False, ["1,000 clients at once"])


def test_a_bad_flag_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--folder", "/nowhere"])
    assert ended.value.code == 2
    assert "argument --folder: /nowhere is not a writable folder: no such file or directory" in capsys.readouterr().err


@pytest.mark.slow
def test_two_checkouts_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    flags = [*SHORT, "--folder", str(tmp_path), "--json", str(report)]
    status = main([*flags, "--against", str(ROOT)])
    [row] = json.loads(report.read_bytes())["rows"]
    assert row["wrong_answers"] == {}
    assert min(row["runs"][0].values()) > 0
    assert status == (0 if row["passed"] else 1)
    assert f"server.py against the server in {ROOT}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_folder_without_a_server_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--against", str(tmp_path)])
    assert ended.value.code == 2
    assert f"argument --against: there is no server.py in {tmp_path}" in capsys.readouterr().err


def test_an_unknown_trial_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "steady", "--only", "nothing"])
    assert ended.value.code == 2
    assert "argument --only: invalid choice: 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("orders.db", b"mine", "is not an SQLite database"), ("none.db", b"", "there is no file")],
)
def test_a_file_without_orders_is_refused_with_its_name(
    name: str, content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orders.db").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["--stored", str(tmp_path / name)])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line
    assert str(tmp_path / name) in line


def test_a_trial_that_needs_a_file_is_refused_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "stored-intake"]) == 2
    assert "without --stored FILE" in capsys.readouterr().err


def test_an_unwritable_result_is_reported_before_any_trial(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--json", "/proc/version"])
    assert ended.value.code == 2
    assert "argument --json: /proc/version can't be written: " in capsys.readouterr().err


def test_trials_that_need_a_database_are_left_out_or_refused_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    names = [name for name, plan in PLANS.items() if plan.needs_database]
    plans, lines = choose_plans(None, has_stored=True)
    assert not any(plan.needs_database for plan in plans)
    assert lines[-1] == f"left out without --database URL: {', '.join(names)}"
    assert main(["--only", names[0]]) == 2
    assert "without --database URL" in capsys.readouterr().err


def test_with_a_database_only_the_trials_that_compare_it_run() -> None:
    plans, lines = choose_plans(None, has_stored=False, has_database=True)
    assert ([plan for plan in plans if not plan.needs_database], lines) == ([PLANS["memory"]], [])


def test_a_database_that_can_not_be_reached_is_reported_in_one_line_before_any_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"postgresql://orders@/orders?host={tmp_path}"
    assert main(["--database", url, "--folder", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert line.startswith(f"python -m load.bench: {url}: ")
    assert out == ""


@pytest.mark.postgresql
def test_a_server_on_postgresql_is_compared_with_one_on_sqlite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "PENDING_IN_MEMORY", 2_000)  # makes the test fast
    report = tmp_path / "report.json"
    with temporary_database() as url:
        status = main([*SHORT, "--folder", str(tmp_path), "--json", str(report), "--database", url])
        with connect(url) as connection:
            schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'load%'"
            assert execute(connection, schemas) == [(0,)]
    result = json.loads(report.read_bytes())
    limits = 23
    assert [row["wrong_answers"] for row in result["rows"]] == [{}] * (9 + limits)
    ratios = [">= 0.60", ">= 0.35", "", ">= 1.30", ">= 0.50"]
    assert [row["must"] for row in result["rows"]] == ["<= 60.00 MiB", *ratios, "", "", "<= 60.00 MiB", *[""] * limits]
    measured = [("postgresql", "sqlite"), ("postgresql", "sqlite"), ("two", "one"), ("two", "one"), ("insert", "copy")]
    for row, (name, other) in zip(result["rows"][1:6], measured, strict=True):
        [run] = row["runs"]
        assert run["value"] == pytest.approx(run[f"{name}_per_second"] / run[f"{other}_per_second"])
    assert all(row["median"] > 0 for row in result["rows"])
    assert status == (0 if result["passed"] else 1)
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--only", "--stored", "--database"])
def test_against_excludes_other_trials(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.db"
    file.write_bytes(b"SQLite format 3\0")
    flags = [flag, {"--stored": str(file), "--database": "postgresql://shop@/orders"}.get(flag, "crowd")]
    with pytest.raises(SystemExit) as ended:
        main([*flags, "--against", str(ROOT)])
    assert ended.value.code == 2
    assert f"{flags[0]} and --against exclude each other" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRIALS if name != "generator"])
def test_every_trial_ends_without_wrong_answers(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workloads, "STORED_ORDERS", 1_000)  # makes the test fast
    # Within 0.2 s, a receiver that takes 200 ms may not get any webhook.
    flags = ["--seconds", "1"] if name == "slow-webhooks" else []
    result = run_trial(name, tmp_path, capsys, *flags)
    assert [row["wrong_answers"] for row in result["rows"]] == [{}] * ROWS.get(name, 1)
    assert all(row["median"] > 0 for row in result["rows"])


@pytest.mark.slow
def test_the_load_generator_is_compared_with_wrk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need("wrk")
    report = tmp_path / "report.json"
    status = main(["--only", "generator", *SHORT, "--folder", str(tmp_path), "--json", str(report)])
    result = json.loads(report.read_bytes())
    assert [row["wrong_answers"] for row in result["rows"]] == [{}] * 2
    assert status == (0 if result["passed"] else 1)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert [row["must"] for row in result["rows"]] == [">= 0.50", ">= 2.00"]
    for run in result["rows"][0]["runs"]:
        assert run["value"] == pytest.approx(run["ours_per_second"] / run["wrk_per_second"])
    assert [row["invalid_runs"] for row in result["rows"]] == [{}] * 2
    assert f"\nwrk: {result['machine']['wrk']}\n" in capsys.readouterr().out
