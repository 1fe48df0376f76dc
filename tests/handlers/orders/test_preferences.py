"""The header Prefer (RFC 7240)."""

import time

from tornado.httputil import HTTPHeaders

from handlers.orders.preferences import preferred_wait_s
from tests.cases import cases


def wait_of(*lines: str) -> int | None:
    headers = HTTPHeaders()
    for line in lines:
        headers.add("Prefer", line)
    return preferred_wait_s(headers)


@cases(
    "line",
    [
        "wait=5",
        "WAIT=5",
        "Wait = 5",
        'wait="5"',
        "wait=05",
        "respond-async, wait=5",
        "wait=5, respond-async",
        "wait=5; precise",
        'wait=5; precise="yes, wait=7"; other=1',
        "wait=5;",
        ",, wait=5 ,,",
        'return=minimal; foo="some parameter", wait=5',
        'note="a, wait=9, b", wait=5',
        'note="a \\", wait=9", wait=5',
        'note; because="a, wait=9", wait=5',
        "wait=5, wait=9",
        "a b c, wait=5",
        "=7, wait=5",
    ],
)
def test_wait_is_found_among_other_preferences(line: str) -> None:
    assert wait_of(line) == 5


def test_several_header_lines_are_combined() -> None:
    assert wait_of("respond-async", "handling=lenient, wait=5", "wait=9") == 5


@cases(
    "line",
    [
        "",
        "wait",
        "wait=",
        'wait=""',
        "wait=x",
        "wait=-1",
        "wait=+1",
        "wait=1.5",
        "wait=1e1",
        "wait=0x5",
        "wait=5 6",
        "wait 5",
        "wait:5",
        "wait=²",
        "wait=9999999999",
        "await=5",
        "respond-async",
        'note="wait=5',
        # Only the first `wait` counts.
        "wait=x, wait=5",
        "wait, wait=5",
    ],
)
def test_invalid_preferences_are_ignored(line: str) -> None:
    assert wait_of(line) is None


def test_without_the_header_there_is_no_preference() -> None:
    assert preferred_wait_s(HTTPHeaders()) is None


@cases(("given", "wait_s"), [("0", 0), ("1", 1), ("30", 30), ("31", 30), ("999999999", 30)])
def test_a_wait_is_limited_to_30_seconds(given: str, wait_s: int) -> None:
    assert wait_of(f"wait={given}") == wait_s


@cases(
    "line",
    ["a" + " " * 60_000 + "@", "a=" + " " * 60_000 + "@", '"\\' * 30_000, 'a="' * 20_000, "a;b=c " * 10_000 + "@"],
)
def test_parsing_takes_linear_time(line: str) -> None:
    begun_s = time.process_time()
    assert wait_of(line) is None
    assert time.process_time() - begun_s < 0.2
