"""Tests the notes about repeated ids, and the JSON of a run without responses."""

import pytest

from load.results.counting import Tally
from load.results.result import Result
from load.results.summary import notes_of, to_json
from load.settings import parse_settings


def _notes(duplicates: int, *flags: str) -> list[str]:
    tally = Tally()
    tally.acknowledge(range(duplicates), duplicates=duplicates)
    return notes_of(Result(orders=5, tally=tally), parse_settings(flags))


def test_generated_ids_that_exist_already_are_reported() -> None:
    assert _notes(0) == []
    assert _notes(1) == ["1 order was there already: another run uses the same ids."]
    assert _notes(5) == ["5 orders were there already: another run uses the same ids."]


@pytest.mark.parametrize("flags", [("--first-id", "1"), ("--replay", "orders.csv")])
def test_chosen_ids_may_exist_already(flags: tuple[str, str]) -> None:
    assert _notes(5, *flags) == []


def test_a_run_without_answers_has_no_figures() -> None:
    found = to_json(Result(orders=5, interrupted=True), parse_settings([]))
    assert (found["elapsed_s"], found["latency_p50_ms"], found["passed"]) == (None, None, False)
    assert found["timeline"]["start_s"] == found["backlog"]["time_s"] == found["percentiles"]["percentile"] == []
    assert found["sending_latency_p50_ms"] is None
