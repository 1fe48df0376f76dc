"""What a run found: what counts as wrong, and how it is told."""

from typing import Any

import pytest

from load.chaos.file_audit import FileFindings
from load.chaos.findings import Findings, findings_of
from load.results.read_back import ReadBackResult

WRONG: dict[str, tuple[Any, list[str]]] = {
    "missing": ([77, 78], ["record: missing: 77, 78"]),
    "differing": ({77: "user_id is 2, sent 1"}, ["record: differing: 77 (user_id is 2, sent 1)"]),
    "stuck": ({77: "Failed"}, ["record: stuck: 77 (Failed)", "record: 1 are Failed"]),
    "undelivered": ([77], ["record: undelivered: 77"]),
    "strangers": ([77], ["record: strangers: 77"]),
    "wrong": ([("a new order got 500", 77)], ["record: 1 x a new order got 500: 77"]),
    "totals": (["totals say completed 1, counted 2"], ["record: totals say completed 1, counted 2"]),
}
"""What is found, and the lines that tell it."""


def test_a_shop_where_nothing_is_wrong_is_good() -> None:
    assert Findings(shop="record", acknowledged=3).is_good


def test_a_shop_that_acknowledged_nothing_is_not_good() -> None:
    assert not Findings(shop="record").is_good


@pytest.mark.parametrize("name", WRONG)
def test_whatever_is_wrong_a_shop_is_not_good_and_it_is_named(name: str) -> None:
    what, lines = WRONG[name]
    found = Findings(shop="record", acknowledged=3, **{name: what})
    assert not found.is_good
    assert [*found.lines] == found.to_json()["found"] == lines


def test_only_the_first_ten_of_many_are_named() -> None:
    [line] = Findings(shop="record", missing=list(range(1, 21))).lines
    assert line == "record: missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."


def test_the_answers_and_the_file_are_put_together() -> None:
    verdict = ReadBackResult(
        acknowledged=9,
        lost=[4],
        different={5: "x"},
        unprocessed={6: "Pending", 7: "Processing"},
        unread={8: "status 500"},
    )
    file = FileFindings(missing=[3, 4], stuck={6: "Failed"}, faults=["integrity_check: bad"])
    found = findings_of("record", verdict, file, wrong=[("before", 1)])
    assert (found.acknowledged, found.missing, found.differing) == (9, [3, 4], {5: "x"})
    assert found.stuck == {6: "Failed", 7: "Processing"}
    assert found.wrong == [("before", 1), ("it can't be read: status 500", 8), ("integrity_check: bad", 0)]
