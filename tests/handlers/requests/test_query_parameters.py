"""Query parameters: what each getter accepts, and that all errors are reported."""

from collections.abc import Callable

import pytest
from tornado.escape import parse_qs_bytes

from handlers.problems.problem import INVALID_PARAMETER, Problem
from handlers.requests.query_parameters import QueryParameters
from models.parsing.order_body import MAX_ID
from tests.cases import cases

NOON_US = 1_740_830_400_000_000


def parameters(query: str) -> QueryParameters:
    return QueryParameters(parse_qs_bytes(query, keep_blank_values=True), allowed=("name", "other"))


def errors_of(given: QueryParameters) -> list[tuple[str, str]]:
    """The reported errors: parameter and reason."""
    with pytest.raises(Problem) as caught:
        given.check()
    assert caught.value.kind is INVALID_PARAMETER
    return [(error["parameter"], error["detail"]) for error in caught.value.members["errors"]]


@cases(
    ("text", "time_us"),
    [
        ("2025-03-01T12:00:00Z", NOON_US),
        ("2025-03-01t12:00:00z", NOON_US),
        ("2025-03-01 12:00:00", NOON_US),
        ("2025-03-01+12:00:00", NOON_US),
        ("2025-03-01%2012:00:00Z", NOON_US),
        ("2025-03-01T14:30:00%2B02:30", NOON_US),
        ("2025-03-01T11:00:00-01:00", NOON_US),
        ("2025-03-01T12:00:00-00:00", NOON_US),
        ("2025-03-01T12:00:00.5Z", NOON_US + 500_000),
        ("2025-03-01T12:00:00.000001Z", NOON_US + 1),
        ("2025-03-01T12:00:00.0000010000Z", NOON_US + 1),
        ("2025-03-01T12:00:00.0000010001Z", NOON_US + 2),
        ("2025-03-01T12:00:00.9999999Z", NOON_US + 1_000_000),
        ("2025-03-01T12:00:00." + "9" * 5_000 + "Z", NOON_US + 1_000_000),
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00%2B23:59", -62_135_683_140_000_000),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000),
    ],
)
def test_a_time_is_parsed_to_the_microsecond(text: str, time_us: int) -> None:
    given = parameters(f"name={text}")
    assert given.time("name") == time_us
    given.check()


@cases(
    "text",
    [
        "2025-03-01T12:00:00+02:00",  # the + arrives as a space
        "2025-03-01T12:00:00",
        "2025-03-01 12:00:00.5",
        "2025-03-01",
        "12:00:00",
        "1740830400",
        "2025-02-29T12:00:00Z",
        "2025-13-01T12:00:00Z",
        "2025-03-01T24:00:00Z",
        "2025-03-01T12:60:00Z",
        "2025-03-01T12:00:61Z",
        "2025-03-01T12:00:00%2B24:00",
        "2025-03-01T12:00:00%2B01:60",
        "2025-03-01T12:00:00%2B0100",
        "2025-03-01T12:00:00.Z",
        "2025-03-01T12:00:00,5Z",
        "0000-03-01T12:00:00Z",
        "20250301T120000Z",
        "%202025-03-01T12:00:00Z",
        "2025-03-01T12:00:00Z%0A",
        "%D9%A2025-03-01T12:00:00Z",
        "now",
    ],
)
def test_an_invalid_time_is_rejected(text: str) -> None:
    given = parameters(f"name={text}")
    assert given.time("name") is None
    [(name, detail)] = errors_of(given)
    assert (name, detail.startswith("must be a time such as 2025-03-01T12:00:00Z")) == ("name", True)


@cases("text", ["0", "7", str(MAX_ID)])
def test_an_integer_has_no_leading_zeros(text: str) -> None:
    given = parameters(f"name={text}")
    assert given.integer("name", 0, MAX_ID) == int(text)
    given.check()


@cases("text", ["-1", "%2B1", "01", "00", "1.0", "1e3", "1_0", "%201", "0x1", "%D9%A1", "201", "9" * 5_000, "x"])
def test_an_invalid_integer_is_rejected(text: str) -> None:
    given = parameters(f"name={text}")
    assert given.integer("name", 0, 200) is None
    assert errors_of(given) == [("name", "must be an integer from 0 to 200")]


def test_a_choice_is_case_sensitive() -> None:
    assert parameters("name=Failed").choice("name", ("Pending", "Failed")) == "Failed"
    for text in ("failed", "Failed%20", "F", "Pending,Failed", "%FF"):
        given = parameters(f"name={text}")
        assert given.choice("name", ("Pending", "Failed")) is None
        assert errors_of(given) == [("name", "must be one of Pending, Failed")]


GETTERS: list[Callable[[QueryParameters], object]] = [
    lambda given: given.text("name"),
    lambda given: given.choice("name", ("x",)),
    lambda given: given.integer("name", 0, 1),
    lambda given: given.time("name"),
]


@cases("read", GETTERS)
def test_a_missing_parameter_is_none(read: Callable[[QueryParameters], object]) -> None:
    given = parameters("")
    assert read(given) is None
    given.check()


@cases("read", GETTERS)
@cases(
    ("query", "detail"),
    [
        ("name=", "must not be empty"),
        ("name", "must not be empty"),
        ("name=1&name=1", "must not be given more than once"),
        ("name=&name=1", "must not be given more than once"),
    ],
)
def test_an_empty_or_repeated_parameter_is_reported_once(
    read: Callable[[QueryParameters], object], query: str, detail: str
) -> None:
    given = parameters(query)
    assert read(given) is None
    assert errors_of(given) == [("name", detail)]


def test_all_errors_are_reported_together() -> None:
    given = parameters("what=1&name=x&%C3%A9=2&Name=3&other=")
    given.integer("name", 1, 2)
    given.add_error("other", "is not what it was")
    assert errors_of(given) == [
        ("what", "is not known here"),
        ("é", "is not known here"),
        ("Name", "is not known here"),
        ("other", "must not be empty"),
        ("name", "must be an integer from 1 to 2"),
        ("other", "is not what it was"),
    ]
