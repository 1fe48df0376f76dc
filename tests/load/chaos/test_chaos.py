"""Tests whole runs of load.chaos with real servers, and with servers that lose orders or forge webhooks."""

import json
import os
import re
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from load.chaos import run as run_module
from load.chaos.command import main
from load.chaos.faults import NODES, SQLITE, TARGETS, FaultKind
from load.chaos.plan import plan_faults
from load.chaos.target import Target
from load.http.connections import Timeouts
from tests.load.chaos.whole_run import check_report
from tests.postgresql.programs import installed_programs
from tests.postgresql.server import need_postgresql
from tests.process import HANGS_AFTER_S, ROOT, need, processes_with, wait_until

pytestmark = pytest.mark.slow

LOSING_SERVER = ["tests/load/chaos/losing_server.py"]
HARMLESS = str(
    next(
        seed
        for seed in range(1, 1000)
        if (fault := plan_faults(seed, 1)[0]).kind is FaultKind.VANISH and fault.pause_s < 0.2 and fault.length_s < 0.1
    )
)
"""The seed of a run whose first fault comes soon and does not stop a server."""
OF_SEVERAL_SERVERS = {FaultKind.KILL, FaultKind.KILL_ALL, FaultKind.FREEZE, FaultKind.ISOLATE, FaultKind.FAILOVER}
ONLY_THESE = NODES._replace(kinds=tuple(kind for kind in NODES.kinds if kind in OF_SEVERAL_SERVERS))
SEVERAL_SERVERS = str(
    next(seed for seed in count(1) if {fault.kind for fault in plan_faults(seed, 5, ONLY_THESE)} == OF_SEVERAL_SERVERS)
)
"""The seed of a run whose first five faults kill, freeze and cut off servers, and fail over to a standby."""
LATE = str(next(seed for seed in range(1, 100) if plan_faults(seed, 1)[0].pause_s > 2.5))
"""The seed of a run whose first fault comes late, after over 2.5 seconds."""


def run_chaos(folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "load.chaos", "--folder", str(folder), *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_no_kind_of_fault_loses_an_order(tmp_path: Path) -> None:
    """The test of load/README.md does the same on PostgreSQL."""
    report, folder = tmp_path / "report.json", tmp_path / "databases"
    folder.mkdir()
    # Each kind at least once: more faults would repeat some.
    with run_chaos(folder, "--json", str(report), "--faults", str(len(SQLITE.kinds))) as process:
        out, err = process.communicate(timeout=HANGS_AFTER_S)
    assert (process.returncode, err) == (0, ""), out
    check_report(report, out)
    assert [*folder.iterdir()] == [], out


@pytest.mark.postgresql
def test_several_servers_on_one_database_lose_nothing(open_folder: Path, tmp_path: Path) -> None:
    need("caddy")
    need_postgresql()
    report = tmp_path / "report.json"
    flags = ["--postgresql", str(installed_programs()), "--nodes", "3", "--seed", SEVERAL_SERVERS, "--faults", "5"]
    only = [f"--only={kind.value}" for kind in OF_SEVERAL_SERVERS]
    with run_chaos(open_folder, *flags, *only, "--orders", "2000", "--json", str(report)) as process:
        out, err = process.communicate(timeout=HANGS_AFTER_S)
    assert (process.returncode, err) == (0, ""), out
    found = json.loads(report.read_text())
    assert found["passed"], out
    assert {kind: counts["made"] for kind, counts in found["faults"].items()} == {
        kind.value: 1 for kind in OF_SEVERAL_SERVERS
    }, out
    assert found["failovers"]["count"] == 1, out
    for shop in found["shops"]:
        assert shop["acknowledged"] > 100, out
        assert "longest_wait_seconds" in shop, out
    assert processes_with(str(open_folder)) == []
    assert [*open_folder.iterdir()] == [], out


def test_a_server_that_loses_orders_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    flags = ["--faults", "1", "--orders", "50", "--seed", HARMLESS, "--folder", str(tmp_path), "--json", str(report)]
    assert main(flags, server=LOSING_SERVER) == 1
    out = capsys.readouterr().out
    for shop in json.loads(report.read_text())["shops"]:
        assert shop["acknowledged"] == shop["missing"] > 0
        [named] = [line for line in shop["found"] if line.startswith(f"{shop['shop']}: missing: ")]
        assert named in out
        assert len(named.split(", ")) >= min(10, shop["missing"])
    [kept] = [line.rpartition(" ")[2] for line in out.splitlines() if line.startswith("The databases and logs are in")]
    # Each server is restarted before its orders are read, so that no request of a disconnected client is left.
    for name in TARGETS:
        assert [log.name for log in sorted((Path(kept) / name).iterdir())] == ["server-1.log", "server-2.log"]


def test_unprocessed_orders_are_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(target: Target, *, timeouts: Timeouts) -> bool:
        return False

    monkeypatch.setattr(run_module, "wait_until_processed", never)  # no real server fails this way
    flags = ["--faults", "1", "--orders", "1", "--seed", HARMLESS, "--folder", str(tmp_path)]
    assert main(flags, server=LOSING_SERVER) == 1
    lines = capsys.readouterr().out.splitlines()
    assert {f"the {name} server did not process all orders" for name in TARGETS} <= {*lines}


def test_an_interrupted_run_prints_its_results_and_keeps_a_wrong_database(tmp_path: Path) -> None:
    with run_chaos(tmp_path, "--faults", str(len(SQLITE.kinds)), "--seed", LATE) as process:
        wait_until(lambda: any(b"listening" in log.read_bytes() for log in tmp_path.glob("*/webhook/*.log")))
        [server] = processes_with(f"{tmp_path}/", "/webhook/")
        os.kill(server, signal.SIGUSR2)
        wait_until(lambda: len([*tmp_path.glob("*/webhook/*.log")]) == 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS_AFTER_S)
    assert (process.returncode, err) == (130, ""), out
    lines = out[out.index("interrupted\n") :].splitlines()
    assert any(line.startswith("kill ") for line in lines)
    assert f"webhook: wrong answers: 1 x the server ended by itself with status {-signal.SIGUSR2}" in lines
    [kept] = [line.rpartition(" ")[2] for line in lines if line.startswith("The databases and logs are in")]
    assert (Path(kept) / "webhook" / "orders.db").exists()
    assert processes_with(str(tmp_path)) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_sigint_and_sigterm_leave_no_server_running(number: signal.Signals, status: int, tmp_path: Path) -> None:
    with run_chaos(tmp_path, "--faults", str(len(SQLITE.kinds))) as process:
        wait_until(lambda: len(processes_with(str(tmp_path))) == 3)
        wait_until(lambda: any(b"listening" in log.read_bytes() for log in tmp_path.glob("*/record/*.log")))
        process.send_signal(number)
        out, err = process.communicate(timeout=HANGS_AFTER_S)
    assert (process.returncode, err) == (status, ""), out
    assert "\nNothing was wrong until then.\n" in out[out.index("interrupted\n") :]
    assert processes_with(str(tmp_path)) == []
    assert [*tmp_path.iterdir()] == []


@pytest.mark.postgresql
@pytest.mark.parametrize("nodes", [1, 2])
def test_sigint_leaves_no_postgresql_and_no_load_balancer_running(nodes: int, open_folder: Path) -> None:
    need_postgresql()
    if nodes > 1:
        need("caddy")
    flags = ["--postgresql", str(installed_programs()), "--nodes", str(nodes), "--faults", "27", "--seed", LATE]
    with run_chaos(open_folder, *flags) as process:
        wait_until(lambda: all(any_listening(open_folder, name) for name in TARGETS))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANGS_AFTER_S)
    assert (process.returncode, err) == (130, ""), out
    assert processes_with(str(open_folder)) == []
    assert [*open_folder.iterdir()] == []


def any_listening(folder: Path, name: str) -> bool:
    return any(b"listening" in log.read_bytes() for log in folder.glob(f"*/{name}/**/server-*.log"))


def test_servers_that_do_not_start_are_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.servers.node.RETRY_START_S", 0.0)  # makes the test fast
    assert main(["--faults", "1", "--folder", str(tmp_path)], server=[os.devnull]) == 1
    lines = capsys.readouterr().out.splitlines()
    # Both servers are started at once, and the first one that fails ends the run.
    assert sum(f"the {name} server can't be started" in lines for name in TARGETS) == 1


def test_a_server_with_forged_webhooks_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--faults", "1", "--orders", "50", "--seed", HARMLESS, "--folder", str(tmp_path)]
    assert main(flags, server=["-m", "tests.load.chaos.forging_server"]) == 1
    lines = capsys.readouterr().out.splitlines()
    for what in ("a webhook that differs from the order in its total_amount", "a webhook whose signature is wrong"):
        [line] = [line for line in lines if line.startswith("webhook: ") and what in line]
        assert re.search(rf"{what}: \d+", line)
    assert not any(line.startswith("record: ") for line in lines)


def test_a_function_can_process_the_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    module = f"def fulfil(order):\n    with open({str(calls)!r}, 'a') as calls:\n        calls.write('called\\n')\n"
    (tmp_path / "fulfil.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    flags = ["--faults", "2", "--orders", "50", "--folder", str(tmp_path), "--function", "fulfil:fulfil"]
    assert main(flags) == 0
    assert len(calls.read_text().splitlines()) >= 1


def test_the_folder_may_be_a_relative_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert main(["--faults", "1", "--orders", "1", "--seed", HARMLESS, "--folder", "here"]) == 0
    assert "databases in here/load-chaos-" in capsys.readouterr().out


def test_an_unwritable_folder_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--folder", "/proc"])
    assert ended.value.code == 2
    assert "argument --folder: /proc is not a writable folder: " in capsys.readouterr().err


def test_too_few_open_files_are_one_line_and_status_1(tmp_path: Path) -> None:
    command = f"ulimit -n 64; exec {sys.executable} -m load.chaos --folder {tmp_path}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "ulimit -n" in done.stderr
