"""Tests the trials for databases with many orders, on small databases. The measured speed is not tested."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from load.bench import command, workloads
from load.bench.measurement import Measurement
from load.bench.plans import PLANS, choose_plans
from load.bench.trial import RATE, Row, Server, Trial, Value
from load.bench.trials import sizes
from load.bench.trials.sizes import (
    find_stored,
    stored_bulk,
    stored_crowd,
    stored_intake,
    stored_metrics,
    stored_reading,
    stored_steady,
)
from load.bench.workloads import METRICS_GETS
from load.cli.errors import CommandError, UsageError
from load.fill.command import fill
from load.system.machine import allow_connections
from tests.load.bench.shop_trial import shop_trial
from tests.load.bench.stocked_shop import StockedShop

SMALL, BIG = 20, 300
STORED = 3_000
NAMES = [name for name, plan in PLANS.items() if plan.needs_stored]
# The other trials are tested with shops, below.
RUN = ["stored-intake", "stored-reading", "stored-metrics", "stored-backup", "stored-retention", "start", "memory"]


@pytest.fixture(autouse=True)
def two_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server is still measured first in half of the rounds. Each round of wrk takes a second."""
    monkeypatch.setattr(sizes, "ROUNDS", 2)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    file = tmp_path / "stored.db"
    fill(file, STORED)
    return file


@pytest.mark.slow
def test_trials_of_many_orders_run_on_copies_of_the_file(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workloads, "STORED_ORDERS", 500)  # makes the test fast
    monkeypatch.setattr(sizes, "PENDING_AT_START", 400)  # makes the test fast
    monkeypatch.setattr(sizes, "PENDING_IN_MEMORY", 2_000)  # makes the test fast
    before, folder, report = stored.read_bytes(), tmp_path / "here", tmp_path / "report.json"
    folder.mkdir()
    only = [word for name in RUN for word in ("--only", name)]
    flags = ["--runs", "1", "--seconds", "0.1", "--folder", str(folder), "--json", str(report), "--stored", str(stored)]
    status = command.main([*flags, *only])
    out = capsys.readouterr().out
    result = json.loads(report.read_bytes())
    rows = {row["name"]: row for row in result["rows"]}
    assert [row["wrong_answers"] for row in rows.values()] == [{}] * (len(RUN) + 2)
    assert sum("with 3,000 stored orders against 500" in name for name in rows) == 3
    assert any(name.endswith("during a backup of 3,000 orders, against none") for name in rows)
    line = r"^        ([0-9,]+) orders, the newest accepted at .*, checked in [0-9.]+ s$"
    [copied] = re.findall(line, out, re.MULTILINE)
    # The slower the machine, the more orders are sent until the backup has ended.
    assert int(copied.replace(",", "")) >= STORED
    assert "GET /metrics with 3,000 stored orders, one after another" in rows
    assert "from exec to the first 200 of /readyz with 3,000 stored orders and 400 Pending" in rows
    assert all(row["median"] > 0 for row in rows.values())
    assert status == (0 if result["passed"] else 1)
    assert "small has 500 orders, big has 3,000" in out
    assert "with 3,000 orders by arrays" in out
    assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.glob("stored*")] == ["stored.db"]
    assert stored.read_bytes() == before


def test_without_a_file_its_trials_are_left_out_with_a_message() -> None:
    plans, lines = choose_plans(None, has_stored=False)
    assert [plan for plan in plans if plan.needs_stored] == []
    assert lines[-1].startswith("left out without --stored FILE (`python -m load.fill --orders")
    assert lines[-1].endswith(", ".join(NAMES))
    with pytest.raises(UsageError):
        choose_plans(["start"], has_stored=False)
    assert choose_plans(["start"], has_stored=True) == ([PLANS["start"]], [])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        ([], "argument --stored: there is no file {}: `python -m load.fill"),
        (
            ["many.db", "many.db-wal"],
            "argument --stored: {} has a write-ahead log: a server is using it, or was killed",
        ),
    ],
)
def test_a_file_that_can_not_be_copied_is_refused(
    make: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in make:
        (tmp_path / name).write_text("something")
    with pytest.raises(SystemExit) as ended:
        command.main(["--stored", str(tmp_path / "many.db")])
    assert ended.value.code == 2
    assert complaint.format(tmp_path / "many.db") in capsys.readouterr().err


async def _trial(small: StockedShop, big: StockedShop, *, lines: list[str] | None = None) -> Trial:
    """Return a trial with two short runs. The second run begins with the second server."""
    print_line = (lines if lines is not None else []).append
    return await shop_trial({"small": small, "big": big}, runs=2, seconds=0.05, print_line=print_line)


@pytest.fixture
def small() -> Iterator[StockedShop]:
    allow_connections(1000)
    with StockedShop(SMALL) as shop:
        yield shop


@pytest.fixture
def big() -> Iterator[StockedShop]:
    with StockedShop(BIG) as shop:
        yield shop


@pytest.mark.gen_test
async def test_the_stored_orders_are_counted_before_the_load(small: StockedShop, big: StockedShop) -> None:
    lines: list[str] = []
    trial = await find_stored(await _trial(small, big, lines=lines))
    assert (trial.other.stored, trial.ours.stored) == (SMALL, BIG)
    assert (next(trial.other.ids), next(trial.ours.ids)) == (SMALL + 1, BIG + 1)
    assert lines == ["small has 20 orders, big has 300 (by /metrics; ids from 1 on)"]


@pytest.mark.gen_test
async def test_stored_orders_with_other_ids_end_the_trial(small: StockedShop) -> None:
    with StockedShop(BIG, missing=(BIG,)) as big:
        trial = await _trial(small, big)
        with pytest.raises(CommandError, match="the server has 300 orders, but not those with the ids from 1 on"):
            await find_stored(trial)


@pytest.mark.gen_test
async def test_servers_are_measured_alternately(small: StockedShop, big: StockedShop) -> None:
    trial = await _trial(small, big)
    measured: list[str] = []

    async def load(trial: Trial, server: Server) -> Measurement:
        measured.append(server.name)
        return Measurement(right=100 if server.name == "small" else 50, elapsed_s=1.0, empty_after_s=1.0)

    row = Row(name="row")
    await trial.compare(load, (row, RATE), value=Value.TIME, rounds=4)
    assert measured == ["small", "big", "big", "small"] * 2 + ["big", "small", "small", "big"] * 2
    for run in row.runs:
        assert (run["small_per_second"], run["big_per_second"], run["value"]) == (100.0, 50.0, 2.0)
    assert row.runs[0]["small_empty_after_s"] == 4.0


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.parametrize(
    "run", [stored_intake, stored_reading, stored_steady], ids=["stored-intake", "stored-reading", "stored-steady"]
)
async def test_times_are_compared_and_no_order_is_sent_twice(
    run: Callable[[Trial], Awaitable[list[Row]]], small: StockedShop, big: StockedShop
) -> None:
    for row in await run(await _trial(small, big)):
        assert row.wrong == {}
        assert "with 300 stored orders against 20" in row.name
        assert (row.at_most, row.aim) == (1.25, 1.1)
        assert len(row.runs) == 2
        for figures in row.runs:
            small_figure, big_figure = (
                value for name, value in figures.items() if re.match("(small|big)_(per_second|p99_ms)", name)
            )
            is_time = any(name.endswith("_ms") for name in figures)
            ratio = big_figure / small_figure if is_time else small_figure / big_figure
            assert figures["value"] == pytest.approx(ratio)


@pytest.mark.gen_test
@pytest.mark.slow
async def test_many_clients_and_arrays_are_compared_in_the_same_way(
    small: StockedShop, big: StockedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workloads, "ARRAYS_PER_SECOND", 400)  # makes the test fast
    monkeypatch.setattr(workloads, "AT_ONCE", 50)  # makes the test fast
    trial = await _trial(small, big)
    [crowd] = await stored_crowd(trial)
    [bulk] = await stored_bulk(trial)
    assert (crowd.wrong, bulk.wrong) == ({}, {})
    for run in crowd.runs:
        assert run["value"] == run["big_s"] / run["small_s"]
    for run in bulk.runs:
        assert run["value"] == run["small_per_second"] / run["big_per_second"]


@pytest.mark.gen_test
@pytest.mark.slow
async def test_an_order_that_one_server_refuses_is_a_wrong_answer(small: StockedShop, big: StockedShop) -> None:
    big.refusals = {BIG + 1: 503}
    accepting, _ = await stored_intake(await _trial(small, big))
    assert accepting.wrong == {"status 503": 1}
    assert not accepting.passed


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_missing_order_is_a_wrong_answer(small: StockedShop) -> None:
    with StockedShop(BIG, missing=tuple(range(1, 100))) as big:
        [row] = await stored_reading(await _trial(small, big))
    assert row.wrong.total() > 0
    assert not row.passed


@pytest.mark.gen_test
async def test_metrics_are_requested_one_after_another(small: StockedShop, big: StockedShop) -> None:
    before = len(big.heads)
    trial = await _trial(small, big)
    [row] = await stored_metrics(trial)
    asked = [head for head in big.heads[before:] if head.startswith("GET /metrics ")]
    assert len(asked) >= trial.runs * sizes.ROUNDS * METRICS_GETS
    # One connection per round. Up to 4 before the rounds check whether all orders are processed, and how many exist.
    assert big.connections <= trial.runs * sizes.ROUNDS + 4
    assert (row.wrong, row.at_most, row.unit) == ({}, 2.0, " ms")
    for run in row.runs:
        assert 0 < run["value"] <= run["big_max_ms"]
        assert 0 < run["small_median_ms"] <= run["small_max_ms"]
