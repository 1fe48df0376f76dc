"""Content negotiation by the Accept header."""

from handlers.metrics.content_negotiation import MAX_CHARACTERS, preferred
from handlers.metrics.handler import ANY_FORMAT, JSON, PROMETHEUS_FORMATS
from handlers.metrics.prometheus import OPEN_METRICS, TEXT
from tests.cases import cases

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@cases(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        (BROWSER, JSON),
        ("application/json, text/plain, */*", JSON),
        ("text/plain;q=0.5, application/json;q=0.6", JSON),
        ("text/plain;q=0, */*", JSON),
        ("text/plain", TEXT),
        ("text/*", TEXT),
        ("Text/Plain; Charset=UTF-8", TEXT),
        ("text/plain, */*", TEXT),
        ("application/json;q=0.4, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=0.1, text/plain;version=0.0.4;q=0.9", TEXT),
        ("application/openmetrics-text", OPEN_METRICS),
        ("text/plain, application/openmetrics-text", OPEN_METRICS),
        ("application/json;q=0, application/openmetrics-text;q=0.001", OPEN_METRICS),
    ],
)
def test_the_format_with_the_highest_quality_is_chosen(accept: str, chosen: str) -> None:
    assert preferred(accept, ANY_FORMAT).media_type == chosen


@cases("accept", ["text/html", "image/*, text/html;q=0.5", "text/plain;q=0", ",", " , "])
def test_without_an_acceptable_format_the_first_is_chosen(accept: str) -> None:
    assert preferred(accept, ANY_FORMAT).media_type == JSON
    assert preferred(accept, PROMETHEUS_FORMATS).media_type == TEXT


@cases(
    "accept",
    ["text", "text/plain/x", ";q=1", "text/plain, ;", "text/plain, \x00", "=", "/", "\xff\xfe", "application/json;q"],
)
def test_a_malformed_header_is_ignored(accept: str) -> None:
    assert preferred(accept, ANY_FORMAT).media_type == JSON


@cases("quality", ["", "x", "2", "-1", "nan", "inf", "1_0"])
def test_an_invalid_quality_counts_as_1(quality: str) -> None:
    assert preferred(f"text/plain;q={quality}, application/json;q=0.9", ANY_FORMAT).media_type == TEXT


def test_a_header_over_the_length_limit_is_ignored() -> None:
    longest = "text/plain".ljust(MAX_CHARACTERS, ",")
    assert preferred(longest, ANY_FORMAT).media_type == TEXT
    assert preferred(longest + ",", ANY_FORMAT).media_type == JSON


def test_the_parameters_are_those_of_the_best_range() -> None:
    accept = 'text/plain;version=0.0.4;q=0.2, text/plain;Version="1.0.0";q=0.9, application/json;q=0.5'
    chosen, parameters = preferred(accept, ANY_FORMAT)
    assert (chosen, parameters["version"]) == (TEXT, "1.0.0")
    assert preferred("text/*;version=1.0.0", ANY_FORMAT) == (TEXT, {})
