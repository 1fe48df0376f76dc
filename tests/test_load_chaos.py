"""Harm for real: whole servers under load, and one that lies."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from load.chaos.command import main
from load.chaos.plan import DECK, Kind, plan_faults
from tests.process import DEADLINE_S, ROOT, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("harm")]

LIAR = ["tests/load/chaos/liar.py"]


def run_chaos(folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "load.chaos", "--folder", str(folder), *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_with(text: str) -> list[str]:
    """The command lines of the processes that name it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended by now
            continue
        if text in line:
            found.append(line)
    return found


def test_no_order_suffers_from_any_kind_of_harm(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    folder = tmp_path / "databases"
    folder.mkdir()
    with run_chaos(folder, "--json", str(report)) as process:
        out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, ""), out
    found = json.loads(report.read_text())
    assert found["passed"]
    assert all(counts["made"] == counts["planned"] > 0 for counts in found["faults"].values())
    for shop in found["shops"]:
        assert shop["acknowledged"] > 1000
        assert not any(count for name, count in shop.items() if name not in ("shop", "acknowledged", "found"))
    assert [*folder.iterdir()] == []


def test_a_server_that_lies_is_found_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = next(seed for seed in range(1, 100) if plan_faults(seed, 1)[0].kind is Kind.VANISH)
    report = tmp_path / "report.json"
    flags = ["--faults", "1", "--orders", "50", "--seed", str(seed), "--folder", str(tmp_path), "--json", str(report)]
    assert main(flags, server=LIAR) == 1
    out = capsys.readouterr().out
    for shop in json.loads(report.read_text())["shops"]:
        assert shop["acknowledged"] == shop["missing"] > 0
        [named] = [line for line in shop["found"] if line.startswith(f"{shop['shop']}: missing: ")]
        assert named in out
        assert len(named.split(", ")) >= min(10, shop["missing"])
    [kept] = [line.rpartition(" ")[2] for line in out.splitlines() if line.startswith("The databases and logs are in")]
    assert (Path(kept) / "record" / "server-2.log").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_ends_it_leaves_no_server_behind(number: signal.Signals, status: int, tmp_path: Path) -> None:
    with run_chaos(tmp_path, "--faults", str(len(DECK))) as process:
        wait_until(lambda: len(processes_with(str(tmp_path))) == 3)
        wait_until(lambda: any(b"listening" in log.read_bytes() for log in tmp_path.glob("*/record/*.log")))
        process.send_signal(number)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (status, "")
    assert processes_with(str(tmp_path)) == []
    assert [*tmp_path.iterdir()] == []


def test_servers_that_do_not_start_are_one_line_and_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--faults", "1", "--folder", str(tmp_path)], server=[os.devnull]) == 1
    assert "the server of the record shop can't be started" in capsys.readouterr().out
