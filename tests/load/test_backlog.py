"""Reading the counts of orders from GET /metrics."""

import json

import pytest

from load.backlog import Metrics, NoMetrics
from load.http.connection import Response
from tests.load.conftest import Load
from tests.load.shop import Shop

COUNTS = {"pending_orders": 3, "processing_orders": 2, "completed_orders": 5}


def _answer(counts: object) -> Response:
    return Response(200, b"", json.dumps(counts).encode(), True)


def test_counts_of_failed_and_cancelled_orders_are_optional() -> None:
    assert Metrics.parse(_answer(COUNTS)) == Metrics(waiting=5, completed=5, finished=5)
    assert Metrics.parse(_answer({**COUNTS, "failed_orders": 1, "cancelled_orders": 2})).finished == 8


@pytest.mark.parametrize("count", ["3", [3], -1, 1.5, True, None, {}, 2**63])
@pytest.mark.parametrize("name", ["pending_orders", "processing_orders", "completed_orders", "failed_orders"])
def test_an_invalid_count_is_an_error(name: str, count: object) -> None:
    with pytest.raises(NoMetrics, match=f"{name} is missing or no number of orders"):
        Metrics.parse(_answer({**COUNTS, name: count}))


@pytest.mark.parametrize("counts", [[], "x", 1, None])
def test_metrics_that_are_no_object_are_an_error(counts: object) -> None:
    with pytest.raises(NoMetrics, match="no JSON object"):
        Metrics.parse(_answer(counts))


def test_huge_amounts_in_the_answers_do_not_end_a_run(load: Load, shop: Shop) -> None:
    shop.altered = {2: {"total_amount": b"9e999999"}, 3: {"total_amount": b"1E+9999"}}
    outcome = load("--orders", "4")
    assert outcome.status == 1
    assert outcome.json["read_back"]["different"].keys() == {"2", "3"}
    assert "total_amount is 9E+999999, sent " in outcome.out
    assert len(outcome.json["read_back"]["total_amount"]) < 20
