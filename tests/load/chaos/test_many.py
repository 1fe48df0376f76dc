"""What counts as a wrong answer to many orders."""

import msgspec
import pytest

from load.chaos.asking import Told
from load.chaos.many import fault_of_many
from load.http.response import Response
from load.orders.responses import BulkResponse, Rejection

CONFLICT = Rejection(index=11, status=409)
NO_TEXT = b'{"rejected": [{"index": 1, "status": 409, "detail": "\xff"}]}'


def told(*, accepted: int, duplicates: int, rejected: list[Rejection], status: int = 202, unanswered: int = 0) -> Told:
    counts = BulkResponse(accepted, duplicates, rejected, len(rejected))
    return Told(Response(status, b"", msgspec.json.encode(counts), True), unanswered, 0)


@pytest.mark.parametrize(
    ("answer", "has_known", "fault"),
    [
        (told(accepted=10, duplicates=0, rejected=[]), False, ""),
        (told(accepted=10, duplicates=1, rejected=[CONFLICT]), True, ""),
        (told(accepted=3, duplicates=8, rejected=[CONFLICT], unanswered=1), True, ""),
        (told(accepted=3, duplicates=7, rejected=[]), False, "a 202 that calls new orders duplicates"),
        (told(accepted=9, duplicates=0, rejected=[]), False, "a 202 whose counts don't add up"),
        (
            told(accepted=10, duplicates=1, rejected=[Rejection(index=3, status=409)]),
            True,
            "a 202 that rejects other orders than the one that it should",
        ),
        (
            told(accepted=9, duplicates=0, rejected=[Rejection(index=3, status=422)]),
            False,
            "a 202 that rejects other orders than the one that it should",
        ),
        (told(accepted=10, duplicates=0, rejected=[], status=500), False, "many new orders got 500"),
        (Told(Response(202, b"", b"[]", True), 0, 0), False, "a 202 that does not count the orders"),
        (Told(Response(202, b"", NO_TEXT, True), 0, 0), False, "a 202 that does not count the orders"),
    ],
)
def test_each_order_is_answered_for_as_it_must_be(answer: Told, has_known: bool, fault: str) -> None:
    assert fault_of_many(answer, new=10, has_known=has_known) == fault
