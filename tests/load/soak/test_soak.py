"""Tests a soak of some seconds against the real server. Speed is not tested."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from load.http.address import reach
from load.http.connection import Connection, send_once
from load.orders.generated import GeneratedOrders, SentOrders
from load.soak import load as load_module
from load.soak.command import main
from load.soak.limits import check_server
from load.soak.minute import take_sample
from load.system.reference_servers import RECEIVER, reference_command
from load.system.server_process import ServerProcess
from tests.process import HANGS_AFTER_S, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def few_arrays(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of arrays that fill the event log: fewer, to be fast. The test of load/README.md sends all."""
    monkeypatch.setattr(load_module, "FILLING_ARRAYS", 4)
    return 4


def test_a_short_soak_of_the_server_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str], few_arrays: int) -> None:
    result = tmp_path / "soak.json"
    status = main(["--minutes", "0.05", "--rate", "200", "--folder", str(tmp_path), "--json", str(result)])
    found = json.loads(result.read_bytes())
    failed = [finding["name"] for finding in found["findings"] if not finding["passed"]]
    # On a busy machine, the server can be slow.
    assert [name for name in failed if not name.startswith("p99")] == []
    assert status == (1 if failed else 0)
    assert found["errors"] == {}
    assert [minute["name"] for minute in found["minutes"]] == ["1", "2"]
    assert found["closing"]["counted"] == found["acknowledged"] == found["sent"] > few_arrays * 1_000 + 1_000
    out = capsys.readouterr().out
    assert "none lost, none different, all processed" in out
    if not failed:
        assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]


@pytest.mark.usefixtures("few_arrays")
def test_a_soak_with_webhooks_counts_those_that_arrived(tmp_path: Path) -> None:
    result = tmp_path / "soak.json"
    main(["--minutes", "0.02", "--rate", "100", "--webhooks", "--folder", str(tmp_path), "--json", str(result)])
    found = json.loads(result.read_bytes())
    values = {finding["name"]: finding["value"] for finding in found["findings"]}
    assert values["Completed orders whose webhook did not arrive"] == 0
    assert values["orders that are not Completed at the end"] == 0
    assert found["closing"]["counted"] == found["acknowledged"]


@pytest.mark.gen_test
async def test_a_webhook_that_did_not_arrive_is_found(tmp_path: Path) -> None:
    ledger = SentOrders(GeneratedOrders(first_id=1, count=3))
    sent = ledger.take(3, is_sent=True)
    ledger.note_acknowledged(sent)
    database = tmp_path / "orders.db"
    receiver = ServerProcess(reference_command(RECEIVER), log=tmp_path / "receiver.log")
    with (
        receiver,
        ServerProcess(["server.py", "--port", "0", "--database", str(database)], log=tmp_path / "log") as server,
    ):
        address = await reach(server.url, timeout_s=5)
        for index in sent:
            assert (await send_once(address, address.post("/order", ledger.orders.body(index)))).status == 202
        found = await check_server(
            address,
            ledger=ledger,
            take_sample=lambda: take_sample(server.pid, database),
            sockets_before=1_000,
            rng=Random(1),
            receiver=await reach(receiver.url),
        )
    assert found.findings[-1].value == 3  # this server sends no webhooks


@pytest.mark.gen_test
async def test_the_final_check_finds_lost_and_unknown_orders_and_connections(tmp_path: Path) -> None:
    database, log = tmp_path / "orders.db", tmp_path / "log"
    ledger = SentOrders(GeneratedOrders(first_id=1, count=100))
    sent = ledger.take(4)
    ledger.note_sent(sent)
    ledger.note_acknowledged(sent)
    never_sent = GeneratedOrders(first_id=1_000, count=1)
    with ServerProcess(["server.py", "--port", "0", "--database", str(database)], log=log) as server:
        sockets_before = take_sample(server.pid, database).sockets
        address = await reach(server.url, timeout_s=5)
        connection = Connection(address)
        for body in (*(ledger.orders.body(index) for index in range(3)), never_sent.body(0)):
            assert (await connection.exchange(address.post("/order", body))).status == 202
        found = await check_server(
            address,
            ledger=ledger,
            take_sample=lambda: take_sample(server.pid, database),
            sockets_before=sockets_before,
            rng=Random(1),
            close_limit_s=0.2,
        )
        connection.close()
    # Not listed, never sent, a difference to /metrics, lost, not Completed, open sockets.
    assert (found.counted, [finding.value for finding in found.findings]) == (4, [1, 1, 0, 1, 0, 1])


def test_ctrl_c_prints_the_results_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "load.soak", "--minutes", "0.05", "--folder", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as soak:
        assert soak.stdout is not None
        assert any(line.startswith(" warm-up ") for line in soak.stdout)
        soak.send_signal(signal.SIGINT)
        out, err = soak.communicate(timeout=HANGS_AFTER_S)
    assert (soak.returncode, err) == (130, "")
    assert "interrupted: the orders were not counted" in out
    assert "wrong or missing" not in out
    assert list(tmp_path.iterdir()) == []
