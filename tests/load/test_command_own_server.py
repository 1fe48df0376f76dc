"""Tests `--own-server`, and the line about the orders that a running server already has."""

import json
import os
import signal
import tempfile
from pathlib import Path

import pytest

from load.command import main
from tests.load.conftest import Load
from tests.load.shop import Fault, Shop
from tests.load.steps import meanwhile
from tests.process import wait_until

FORGETFUL = """
import sys
from tests.load.shop import Fault, Shop
with Shop() as shop:
    shop.faults[3] = Fault.LOSE
    print(f"listening on {shop.url}", flush=True)
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the command create its temporary folders in a new folder, and return the new folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))  # to see what is left in the folder
    return folder


@pytest.mark.slow
def test_a_server_of_its_own_is_loaded_and_removed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result_file = tmp_path / "result.json"
    assert main(["--own-server", "--orders", "50", "--json", str(result_file)]) == 0
    out, err = capsys.readouterr()
    assert "Read back 50 of 50 acknowledged orders: none lost" in out
    assert "holds" not in out
    assert err == ""
    assert list(folder.iterdir()) == []
    url = json.loads(result_file.read_bytes())["url"]
    assert main(["--url", url, "--orders", "1"]) == 1
    assert f"No server at {url}: connection refused" in capsys.readouterr().err


@pytest.mark.slow
def test_the_json_of_a_run_with_its_own_server_is_alone_on_standard_output(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--own-server", "--orders", "5", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == 5


@pytest.mark.slow
def test_the_files_are_kept_and_named_when_an_order_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--own-server", "--orders", "5", "--first-id", "1"], server=["-c", FORGETFUL]) == 1
    [kept] = folder.iterdir()
    out = capsys.readouterr().out
    assert f"The databases and logs are in {kept}\n" in out
    assert "1 LOST (3)" in out
    assert "listening on" in (kept / "server.log").read_text()


@pytest.mark.slow
def test_no_file_is_left_when_the_server_does_not_start(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--own-server"], server=["-c", "raise SystemExit('no room')"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("python -m load: -c raise SystemExit('no room') --port 0 --database ")
    assert err.endswith("/orders.db ended at once:\nno room\n")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_stops_the_server_and_removes_its_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        wait_until(lambda: any(folder.glob("*/orders.db")))
        os.kill(os.getpid(), signal.SIGINT)

    with meanwhile(interrupt):
        assert main(["--own-server", "--rate", "1", "--duration", "3600"]) == 130
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("flag", "value"), [("--url", "http://127.0.0.1:8080"), ("--api-key", "secret")])
def test_a_server_of_its_own_has_no_other_address_and_no_key(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--own-server", flag, value])
    assert ended.value.code == 2
    assert f"--own-server and {flag} exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("completed", "others"), [(0, "no other orders"), (1, "1 other order"), (6_919, "6,919 other orders")]
)
def test_a_run_says_first_how_many_other_orders_the_server_has(
    completed: int, others: str, load: Load, shop: Shop
) -> None:
    shop.completed = completed
    outcome = load("--orders", "5")
    assert outcome.out.startswith(f"{shop.url} holds {others}; this run adds 5 that stay there.\n")


def test_a_server_without_metrics_does_not_say_how_many_orders_it_has(load: Load, shop: Shop) -> None:
    shop.has_metrics = False
    first, _, _ = load("--orders", "5").out.partition("\n")
    assert first == f"{shop.url} holds an unknown number of other orders; this run adds 5 that stay there."


def test_the_number_of_other_orders_is_printed_before_the_first_request(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.faults[1] = Fault.HOLD
    printed: list[str] = []

    def release() -> None:
        assert shop.steps.come(("came", 1))
        printed.append(capsys.readouterr().out)
        shop.release(1)

    with meanwhile(release):
        assert main(["--url", shop.url, "--orders", "1", "--first-id", "1"]) == 0
    assert printed == [f"{shop.url} holds no other orders; this run adds 1 that stay there.\n"]
