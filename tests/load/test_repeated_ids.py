"""The note about generated ids that exist already."""

import pytest

from load.results.counting import Tally
from load.results.result import Result
from load.results.summary import notes_of
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
