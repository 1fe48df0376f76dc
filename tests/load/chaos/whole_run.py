"""Checks the report of a run of load.chaos with each kind of fault."""

import json
from pathlib import Path


def check_report(report: Path, printed: str) -> None:
    """Every kind of fault was injected, or can't be made on this machine. Nothing was wrong.

    If that is not so, the error shows the printed output, which has the seed.
    """
    found = json.loads(report.read_text())
    assert found["passed"], printed
    for counts in found["faults"].values():
        assert counts["not_made"] or counts["made"] == counts["planned"] > 0, printed
    for shop in found["shops"]:
        assert shop["acknowledged"] > 1000, printed
        assert not any(count for name, count in shop.items() if name not in ("shop", "acknowledged", "found")), printed
