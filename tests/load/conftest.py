"""Defines fixtures: the shop (a fake server) that the tests send to, and a function that runs `python -m load`."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from load.command import main
from load.http.connections import Timeouts
from load.system.machine import allow_connections
from tests.load.shop import Shop

SHORT_TIMEOUTS = Timeouts(answer_s=0.3, connection_s=0.3, processing_s=0.2, poll_s=0.01)
"""Time-outs for tests in which some requests get no response."""
TIMEOUTS = replace(SHORT_TIMEOUTS, answer_s=10.0, connection_s=10.0)
"""Time-outs for tests in which all requests get a response, and some orders are never processed."""
UNHURRIED = Timeouts(poll_s=0.01)
"""Time-outs for tests in which all requests get a response, and all orders are processed."""


@dataclass(frozen=True)
class Outcome:
    """What a command returned and printed. `json` is the decoded content of its --json file."""

    status: int
    out: str
    err: str
    json: Any


Load = Callable[..., Outcome]


@pytest.fixture
def shop() -> Iterator[Shop]:
    allow_connections(1000)
    with Shop() as shop:
        yield shop


@pytest.fixture
def load(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Load:
    """Return a function that runs `python -m load` against the shop. By default, the ids of orders begin at 1."""

    def run(*flags: str, timeouts: Timeouts = UNHURRIED) -> Outcome:
        report = tmp_path / "result.json"
        numbered = () if {"--first-id", "--replay"} & set(flags) else ("--first-id", "1")
        try:
            status = main(["--url", shop.url, "--json", str(report), *numbered, *flags], timeouts=timeouts)
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Outcome(status, out, err, json.loads(report.read_bytes()) if report.exists() else None)

    return run
