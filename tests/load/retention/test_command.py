"""`python -m load.retention` on servers with few orders."""

import re
from pathlib import Path

import pytest

from load.cli.errors import ExitStatus
from load.retention.command import main

pytestmark = pytest.mark.slow

ORDERS = 5_000


def test_all_old_orders_leave_and_none_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--orders", str(ORDERS), "--folder", str(tmp_path)]) == ExitStatus.PASSED
    printed = capsys.readouterr().out
    assert f"compared {ORDERS:,} orders of the archive with the export\n" in printed
    assert re.search(r"^[\d,]+ orders left in [\d.]+ s, while [\d,]+ others arrived$", printed, re.MULTILINE)
    assert not any(tmp_path.iterdir())
