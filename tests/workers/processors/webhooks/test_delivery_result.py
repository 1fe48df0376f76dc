"""What a response to a delivery means for the delivered order, and for deliveries of other orders."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from workers.http.messages import Response
from workers.processors.webhooks.delivery_result import (
    MAX_RETRY_AFTER_S,
    MAX_SHOWN_CHARACTERS,
    DeliveryResult,
    Verdict,
    read_retry_after,
    result_of,
)

NOW_S = 1_740_830_400.0


def result(status: int, retry_after: str | None = None, text: str = "") -> DeliveryResult:
    return result_of(Response(status, text.encode(), retry_after=retry_after), now_s=NOW_S)


@pytest.mark.parametrize("retry_after", [None, "5"])
def test_only_2xx_accepts_and_only_410_and_422_reject_the_order(retry_after: str | None) -> None:
    verdicts = {status: result(status, retry_after).verdict for status in range(200, 1_000)}
    assert [status for status in verdicts if verdicts[status] is Verdict.ACCEPTED] == list(range(200, 300))
    assert [status for status in verdicts if verdicts[status] is Verdict.REJECTED] == [410, 422]
    busy = [status for status in verdicts if verdicts[status] is Verdict.BUSY]
    assert busy == ([429] if retry_after is None else [429, 503])
    assert set(verdicts.values()) <= {Verdict.ACCEPTED, Verdict.REJECTED, Verdict.BUSY, Verdict.FAILED}


@cases("text", ["soon", "", "-5"])
def test_an_invalid_retry_after_counts_as_none(text: str) -> None:
    assert result(503, text) == DeliveryResult(Verdict.FAILED, "the receiver answered 503", None)
    assert result(429, text) == DeliveryResult(Verdict.BUSY, "the receiver answered 429", None)


@cases(
    ("text", "seconds"),
    [
        ("0", 0),
        ("000", 0),
        (" 7\t", 7),
        (str(MAX_RETRY_AFTER_S), MAX_RETRY_AFTER_S),
        (str(MAX_RETRY_AFTER_S + 1), MAX_RETRY_AFTER_S),
        ("9" * 4_000, MAX_RETRY_AFTER_S),
        ("0" * 4_000 + "9", 9),
        (formatdate(NOW_S + 90, usegmt=True), 90),
        ("Fri, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Sat, 01 Mar 2025 13:00:30 +0100", 30),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
        ("Sat Mar  1 12:00:05 2025", 5),
        ("Fri, 31 Feb 2100 00:00:00 GMT", None),
        ("Fri, 01 Jan 99999 00:00:00 GMT", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e5", None),
        ("5, 6", None),
        ("٣", None),
    ],
)
def test_retry_after_is_limited_to_a_day_and_ignored_if_invalid(text: str, seconds: int | None) -> None:
    assert read_retry_after(text, now_s=NOW_S) == seconds


@given(text=st.one_of(st.text(), st.text("0123456789 :,-+GMTJanFeb", max_size=40)))
def test_any_retry_after_is_none_or_at_most_a_day(text: str) -> None:
    seconds = read_retry_after(text, now_s=NOW_S)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


def test_the_reason_contains_the_beginning_of_the_text_in_one_line() -> None:
    assert result(500, text="  no such\r\n\tshop\x85\u2028\x0b \n").reason == "the receiver answered 500: no such shop"
    assert result(410, text="a" * 9_999).reason == "the receiver answered 410: " + MAX_SHOWN_CHARACTERS * "a"
    assert result(404, text=" \n").reason == "the receiver answered 404"
