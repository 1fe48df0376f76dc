"""Tests the bodies that a server takes longest to parse, and its responses to them. The waits are not tested."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import pytest

from load.bench.measurement import TIMEOUTS
from load.bench.trials import stalls as stall_trial
from load.bench.trials.stalls import MAX_BODY_BYTES, MAX_ORDER_BYTES, ORDERS, WorstBody, worst_bodies
from tests.cases import cases
from tests.load.bench.short_trial import run_trial

NAMES = [
    *("bad items", "many commas", "good items", "duplicates", "unknown keys", "repeated keys below long ones"),
    *("repeated keys in small objects", "empty objects", "deep arrays", "long strings", "white space", "not JSON"),
    *("blank lines", "short lines"),
]
Bodies = Mapping[str, WorstBody]


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    return {body.name: body for body in worst_bodies(count(1))}


def test_every_worst_body_is_tested(bodies: Bodies) -> None:
    assert list(bodies) == NAMES


@cases("name", NAMES)
def test_a_worst_body_is_within_the_limits_of_the_server(bodies: Bodies, name: str) -> None:
    body = bodies[name]
    assert MAX_BODY_BYTES / 64 < len(body.body) <= MAX_BODY_BYTES
    if body.media_type == "application/json" and 400 not in body.statuses:
        orders = msgspec.json.decode(body.body, type=list[msgspec.Raw])
        assert len(orders) <= ORDERS
        assert len(body.body) / max(1, len(orders)) <= MAX_ORDER_BYTES or not orders


def test_the_good_orders_have_new_ids_and_are_sent_again_as_duplicates(bodies: Bodies) -> None:
    first, second = (
        [each["order_id"] for each in msgspec.json.decode(bodies[name].body)] for name in ("many commas", "good items")
    )
    assert sorted(first + second) == list(range(1, 2 * ORDERS + 1))
    assert bodies["duplicates"].body == bodies["good items"].body


@pytest.mark.slow
def test_the_server_answers_each_worst_body_as_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, the server takes longer for a body than the trial waits.
    monkeypatch.setattr(stall_trial, "TIMEOUTS", replace(TIMEOUTS, answer_s=300.0))
    # More rounds only make the waits more exact.
    monkeypatch.setattr(stall_trial, "ROUNDS", 1)
    result = run_trial("stalls", tmp_path, capsys)
    [row] = result["rows"]
    assert row["wrong_answers"] == {}
    assert row["median"] > 0
    assert all(row["runs"][0][f"{name.replace(' ', '_')}_ms"] > 0 for name in NAMES)
