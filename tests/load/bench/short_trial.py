"""Runs one trial of the benchmark with real servers, for a short time."""

import json
from pathlib import Path
from typing import Any

import pytest

from load.bench.command import main
from load.bench.plans import PLANS

SHORT = ["--runs", "1", "--seconds", "0.2"]


def run_trial(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    """The decoded result of the trial. Checks the exit status, the output, and which files are left in `folder`."""
    report = folder / "report.json"
    status = main([*SHORT, *flags, "--folder", str(folder), "--json", str(report), "--only", name])
    result: dict[str, Any] = json.loads(report.read_bytes())
    assert status == (0 if result["passed"] else 1)
    out = capsys.readouterr().out
    assert PLANS[name].title in out
    assert sum(plan.title in out for plan in PLANS.values()) == 1
    assert [path.name for path in folder.iterdir()] == ["report.json"]
    return result
