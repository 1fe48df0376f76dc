"""Tests when a row of the benchmark's result passes, and how it is printed."""

from collections import Counter

from load.bench.trial import Row
from tests.cases import cases


def _row(
    *values: float,
    wrong: int = 0,
    invalid: int = 0,
    at_least: float | None = None,
    at_most: float | None = None,
    aim: float | None = None,
) -> Row:
    return Row(
        name="row",
        at_least=at_least,
        at_most=at_most,
        aim=aim,
        runs=[{"value": value} for value in values],
        wrong=Counter({"status 503": wrong} if wrong else {}),
        invalid=Counter({"no server": invalid} if invalid else {}),
    )


@cases(
    ("row", "passed"),
    [
        (_row(0.7, 0.9, 0.8, at_least=0.8), True),
        (_row(0.7, 0.9, 0.79, at_least=0.8), False),
        (_row(0.4, 0.9, 0.5, at_most=0.5), True),
        (_row(0.4, 0.9, 0.51, at_most=0.5), False),
        (_row(0.9, wrong=1, at_least=0.8), False),
        (_row(0.9, invalid=1, at_least=0.8), False),
        (_row(0.9, 0.9, 0.9, invalid=1, at_least=0.8), True),
        (_row(0.9, 0.9, 0.9, invalid=2, at_least=0.8), False),
    ],
)
def test_a_row_passes_by_its_median_if_answers_are_right_and_runs_valid(row: Row, passed: bool) -> None:
    assert row.passed is passed
    assert row.to_json()["passed"] is passed
    assert row.lines[0].startswith("pass") is passed


def test_a_row_without_a_bound_fails_only_for_wrong_answers() -> None:
    assert _row(0.3).lines == ["info  median 0.300: row"]
    assert (_row(0.3).passed, _row(0.3).to_json()["must"]) == (True, "")
    assert _row(0.3, wrong=1).lines[0] == "FAIL  median 0.300: row"


def test_a_row_says_what_was_wrong_and_why_it_is_invalid() -> None:
    assert _row(0.7, at_least=0.8).lines == ["FAIL  median 0.700, must be >= 0.80: row"]
    assert _row(0.9, 0.9, wrong=3, invalid=1, at_least=0.8).lines == [
        "invalid  median 0.900, must be >= 0.80: row",
        "      wrong answers: status 503, 3 times",
        "      invalid: no server, 1 of 2 runs",
    ]


@cases(
    ("row", "line", "reached"),
    [
        (_row(1.0, at_least=0.8, aim=1.0), "pass  median 1.000, must be >= 0.80, aim >= 1.00 reached: row", True),
        (_row(0.9, at_least=0.8, aim=1.0), "pass  median 0.900, must be >= 0.80, aim >= 1.00 missed: row", False),
        (_row(0.3, at_most=0.5, aim=0.3), "pass  median 0.300, must be <= 0.50, aim <= 0.30 reached: row", True),
        (_row(0.4, at_most=0.5, aim=0.3), "pass  median 0.400, must be <= 0.50, aim <= 0.30 missed: row", False),
        (_row(0.6, at_most=0.5, aim=0.3), "FAIL  median 0.600, must be <= 0.50, aim <= 0.30 missed: row", False),
        (_row(0.4, at_most=0.5), "pass  median 0.400, must be <= 0.50: row", None),
    ],
)
def test_a_row_says_whether_its_aim_is_reached(row: Row, line: str, reached: bool | None) -> None:
    assert row.lines == [line]
    assert row.to_json()["aim_reached"] is reached
    assert row.passed is line.startswith("pass")


def test_an_aim_is_not_reached_with_wrong_answers_or_invalid_runs() -> None:
    assert _row(1.2, wrong=1, at_least=0.8, aim=1.0).reached is False
    assert _row(1.2, invalid=1, at_least=0.8, aim=1.0).reached is False


def test_an_aim_is_printed_with_its_unit() -> None:
    row = _row(4.0, at_most=10.0, aim=5.0)
    row.unit = " ms"
    assert (row.to_json()["must"], row.to_json()["aim"]) == ("<= 10.00 ms", "<= 5.00 ms")
    assert _row(4.0).to_json()["aim"] == ""
