"""Tests numbers as text, and the JSON that the charts draw."""

import msgspec

from load.report.page import data_of, exact, measured, share
from tests.cases import cases
from tests.load import sample_results as results


@cases(
    ("value", "text"),
    [
        (0, "0"),
        (0.0042131, "0.00421"),
        (0.3, "0.300"),
        (8.413882, "8.41"),
        (99.95, "100.0"),
        (712.66, "713"),
        (7319.278, "7,319"),
        (1_234_567.8, "1,234,568"),
    ],
)
def test_a_measured_number_has_three_significant_digits_and_all_whole_ones(value: float, text: str) -> None:
    assert measured(value) == text


def test_a_chosen_number_is_shown_as_it_was_chosen() -> None:
    assert [exact(value) for value in (99.9999999, 3 * 0.1, 2000, 30.0, 2**53)] == [
        "99.9999999",
        "0.3",
        "2,000",
        "30",
        "9,007,199,254,740,992",
    ]
    assert share(0.45310284) == "45.3 %"


def test_the_charts_numbers_cannot_end_their_script_element() -> None:
    data = data_of(results.closed_loop(backlog={"time_s": ["</script><!--"], "waiting": [1]}))
    assert b"<" not in data
    assert msgspec.json.decode(data)["backlog"] == {"time_s": ["</script><!--"], "waiting": [1]}
