"""Closed standard streams, and Ctrl-C while a command starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.load.shop import Shop

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30


def _run(shop: Shop, redirection: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "load", "--url", shop.url, "--orders", "5", *flags]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("redirection", [">&-", "<&- >&-"])
def test_a_closed_standard_output_is_an_error_before_any_order_is_sent(redirection: str, shop: Shop) -> None:
    run = _run(shop, redirection)
    assert (run.returncode, shop.ids) == (1, [])
    assert run.stderr == "python -m load: the result can't be printed: standard output is closed\n"


@pytest.mark.slow
def test_a_closed_standard_error_does_not_stop_a_run(shop: Shop, tmp_path: Path) -> None:
    run = _run(shop, "<&- 2>&-", "--json", str(tmp_path / "result.json"))
    assert (run.returncode, len(shop.ids)) == (0, 5)
    assert "Read back 5 of 5" in run.stdout
    assert (tmp_path / "result.json").stat().st_size > 0
    assert _run(shop, ">&- 2>&-").returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("while_importing", ["tornado.iostream", "msgspec", "rich.console"])
def test_ctrl_c_during_the_start_ends_quietly(while_importing: str, shop: Shop) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "load", "--url", shop.url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.rstrip().endswith(f" {while_importing}") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (130, "")
    assert all(line.startswith("import time:") for line in err.splitlines())
