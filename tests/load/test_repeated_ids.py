"""What is said where the ids that a run made were there already."""

import pytest

from load.flags import parse_settings
from load.results.notes import notes_of
from load.results.result import Result
from load.results.tally import Tally


def _notes(duplicates: int, *flags: str) -> list[str]:
    tally = Tally()
    tally.acknowledge(range(duplicates), duplicates=duplicates)
    return notes_of(Result(orders=5, tally=tally), parse_settings(flags))


def test_ids_that_were_made_for_the_run_and_there_already_are_another_run_s() -> None:
    assert _notes(0) == []
    assert _notes(1) == ["1 order was there already: another run uses the same ids."]
    assert _notes(5) == ["5 orders were there already: another run uses the same ids."]


@pytest.mark.parametrize("flags", [("--first-id", "1"), ("--replay", "orders.csv")])
def test_ids_that_were_asked_for_may_be_there_already(flags: tuple[str, str]) -> None:
    assert _notes(5, *flags) == []
