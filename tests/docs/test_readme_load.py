"""Runs the examples of load/README.md as they are written, except for ports, folders and sizes."""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from load.chaos.faults import POSTGRESQL
from load.settings import parse_settings
from tests.load.chaos.whole_run import check_report
from tests.postgresql.databases import temporary_database
from tests.postgresql.programs import installed_programs
from tests.postgresql.server import need_postgresql
from tests.process import HANGS_AFTER_S, ROOT, ServerProcess
from tests.readme import LOAD, Example, example

PYTHON = ".venv/bin/python"


def run(
    line: Example,
    *,
    replaced: Mapping[str, str] = MappingProxyType({}),
    more: Sequence[str] = (),
    statuses: Sequence[int] = (0,),
) -> str:
    """Replaces words of a line, appends `more`, runs the line, and returns its output. Allows these exit `statuses`."""
    python, *words = shlex.split(line.text)
    assert python == PYTHON
    done = subprocess.run(
        [sys.executable, *(replaced.get(word, word) for word in words), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        check=False,
    )
    assert done.returncode in statuses, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
def test_a_run_with_its_own_server_loses_nothing() -> None:
    printed = run(example("-m load --own-server", LOAD))
    assert "Read back 1000 of 1000 acknowledged orders: none lost, none different, all processed" in printed


@pytest.mark.slow
def test_a_run_prints_how_many_orders_the_running_server_has(tmp_path: Path) -> None:
    line = example("-m load --url http://127.0.0.1:8080", LOAD)
    with ServerProcess(tmp_path / "orders.db") as server:
        url = f"http://127.0.0.1:{server.port}"
        for others in ("no other orders", "1,000 other orders"):
            printed = run(line, replaced={"http://127.0.0.1:8080": url})
            assert printed.startswith(f"{url} holds {others}; this run adds 1,000 that stay there.\n")


@pytest.mark.slow
def test_the_csv_shown_is_replayed_unchanged(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_text(example("order_id,user_id,item_ids,total_amount,metadata", LOAD).text)
    with ServerProcess(tmp_path / "orders.db") as server:
        load = Example("sh", f"{PYTHON} -m load --url http://127.0.0.1:{server.port} --replay {orders}")
        assert "Read back 2 of 2 acknowledged orders: none lost, none different" in run(load)
        first, second = (server.get(f"/order/{order_id}").body for order_id in (1001, 1002))
    assert (first["user_id"], first["item_ids"], first["total_amount"]) == (7, [101, 102, 102], 99.9)
    assert first["metadata"] == {"currency": "EUR"}
    assert (second["item_ids"], second["total_amount"], "metadata" in second) == ([103], 5, False)


@pytest.mark.slow
def test_the_fill_command_shown_makes_a_smaller_file(tmp_path: Path) -> None:
    file = tmp_path / "big.db"
    printed = run(example("-m load.fill --orders", LOAD), replaced={"10000000": "2000", "big.db": str(file)})
    assert printed.startswith(f"{file}: 2,000 orders, ")


@pytest.mark.slow
def test_the_benchmark_shown_runs_for_a_shorter_time(tmp_path: Path) -> None:
    json = tmp_path / "result.json"
    flags = ("--runs", "1", "--seconds", "0.1", "--folder", str(tmp_path), "--json", str(json))
    # Status 1 is allowed, because such a short run can miss its bounds.
    run(example("-m load.bench --only crowd", LOAD), more=flags, statuses=(0, 1))
    assert json.stat().st_size > 0


@pytest.mark.slow
def test_the_soak_shown_runs_for_a_shorter_time(tmp_path: Path) -> None:
    line = example("-m load.soak --minutes 60", LOAD)
    printed = run(line, replaced={"60": "0.05"}, more=("--rate", "50", "--folder", str(tmp_path)), statuses=(0, 1))
    assert "acknowledged orders: none lost, none different" in printed
    # One stall of the disk changes the p99 of such a short run. Only the row of the p99 is allowed to fail.
    failed = re.findall(r"^FAIL .*: (.*)$", printed, re.MULTILINE)
    assert failed in ([], ["p99 of POST /order from when due, in the last minute"]), printed


@pytest.mark.postgresql
def test_the_benchmark_on_postgresql_shown_runs_for_a_shorter_time(tmp_path: Path) -> None:
    flags = ("--runs", "1", "--seconds", "0.1", "--only", "postgresql-copy", "--folder", str(tmp_path))
    with temporary_database() as url:
        replaced = {"postgresql://shop@db.example/orders": url}
        printed = run(example("-m load.bench --database", LOAD), replaced=replaced, more=flags, statuses=(0, 1))
    assert "INSERT of orders against COPY" in printed


@pytest.mark.postgresql
def test_the_chaos_on_postgresql_shown_injects_each_kind_of_fault(open_folder: Path, tmp_path: Path) -> None:
    need_postgresql()
    report, faults = tmp_path / "report.json", str(len(POSTGRESQL.kinds))
    flags = (str(installed_programs()), "--faults", faults, "--folder", str(open_folder), "--json", str(report))
    printed = run(example("-m load.chaos --postgresql", LOAD), more=flags)
    assert "Nothing was lost, and nothing was wrong.\n" in printed
    check_report(report, printed)
    assert [*open_folder.iterdir()] == []


def test_the_load_generator_accepts_the_flags_shown() -> None:
    values = {"S": "1", "N": "1", "KEY": "key", "URL": "https://shop.example", "FILE": "file"}
    cells = re.findall(r"^\| (`--.+?`) \|", LOAD.read_text(), re.MULTILINE)
    assert len(cells) > 10
    for cell in cells:
        for shown in re.findall(r"`(.+?)`", cell):
            parse_settings([values.get(word, word) for word in shown.split()])


@pytest.mark.slow
def test_the_retention_shown_archives_fewer_orders(tmp_path: Path) -> None:
    printed = run(example("-m load.retention", LOAD), more=("--orders", "3000", "--folder", str(tmp_path)))
    assert printed.endswith("Every archived order is complete, and none of them was accepted again.\n")
