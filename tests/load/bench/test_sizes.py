"""The trials with a file of many orders, run for real with few; what they measure is never a test."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from load.bench import command, sides, size_trials
from load.bench.plans import PLANS, MissingFile, choose_plans
from load.cli.progress import ProgressBar
from load.fill.fill_job import FillJob

STORED = 3_000
NAMES = [name for name, plan in PLANS.items() if plan.needs_stored]
# Of the others test_stored_trials.py has enough.
RUN = ["stored-intake", "stored-reading", "stored-metrics", "start", "memory"]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A file that load.fill has made, with some orders Pending."""
    file = tmp_path / "stored.db"
    FillJob(database=file, orders=STORED, pending=50, progress=ProgressBar(Console(stderr=True))).run()
    return file


@pytest.mark.slow
def test_trials_of_many_orders_run_on_copies_of_the_file(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sides, "STORED_ORDERS", 500)
    monkeypatch.setattr(size_trials, "PENDING_AT_START", 400)
    monkeypatch.setattr(size_trials, "PENDING_IN_MEMORY", 2_000)
    before, folder, report = stored.read_bytes(), tmp_path / "here", tmp_path / "report.json"
    folder.mkdir()
    only = [word for name in RUN for word in ("--only", name)]
    flags = ["--runs", "1", "--seconds", "0.1", "--folder", str(folder), "--json", str(report), "--stored", str(stored)]
    status = command.main([*flags, *only])
    result = json.loads(report.read_bytes())
    rows = {row["name"]: row for row in result["rows"]}
    assert [row["wrong_answers"] for row in rows.values()] == [{}] * (len(RUN) + 1)
    assert sum("with 3,000 stored orders against 500" in name for name in rows) == 3
    assert "GET /metrics with 3,000 stored orders, one after another" in rows
    assert "from exec to the first 200 of /readyz with 3,000 stored orders and 400 Pending" in rows
    assert all(row["median"] > 0 for row in rows.values())
    assert status == (0 if result["passed"] else 1)
    out = capsys.readouterr().out
    assert "small has 500 orders, big has 3,000" in out
    assert "with 3,000 orders by arrays" in out
    assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.glob("stored*")] == ["stored.db"]
    assert stored.read_bytes() == before


def test_without_a_file_its_trials_are_left_out_with_a_line_that_says_how_to_make_one() -> None:
    plans, lines = choose_plans(None, has_stored=False)
    assert [plan for plan in plans if plan.needs_stored] == []
    assert lines[-1].startswith("without --stored FILE, which `python -m load.fill --orders 10000000 --database FILE`")
    assert lines[-1].endswith(", ".join(NAMES))
    with pytest.raises(MissingFile):
        choose_plans(["start"], has_stored=False)
    assert choose_plans(["start"], has_stored=True) == ([PLANS["start"]], [])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        ([], "argument --stored: there is no file {}: `python -m load.fill"),
        (["many.db", "many.db-wal"], "argument --stored: {} has a log beside it: a server runs on it, or was killed"),
    ],
)
def test_a_file_that_can_not_be_copied_is_refused_at_once(
    make: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in make:
        (tmp_path / name).write_text("something")
    with pytest.raises(SystemExit) as ended:
        command.main(["--stored", str(tmp_path / "many.db")])
    assert ended.value.code == 2
    assert complaint.format(tmp_path / "many.db") in capsys.readouterr().err
