"""Tests that orders from a file are replayed unchanged."""

from decimal import Decimal
from pathlib import Path

import pytest

from load.cli.flags import HIGHEST
from load.orders.sources import BadReplay, ReplayedOrders
from tests.cases import cases
from tests.load.conftest import Load
from tests.load.shop import Shop

LINES = (
    b'{"order_id": 5, "user_id": 1, "item_ids": [3, 3, 1], "total_amount": 10.10}',
    b'{"total_amount":"0.30","item_ids":[1],"user_id":2,"order_id":3, "metadata": {"by": "caf\xc3\xa9", "vat": 0.10}}',
    b'{ "order_id": 4 , "user_id": 9007199254740993, "item_ids": [1], "total_amount": 9999999999.9999}\t',
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.ndjson"
    path.write_bytes(b"\n".join(LINES) + b"\n\n")
    return path


def test_lines_are_sent_byte_for_byte_and_compared_by_exact_value(load: Load, shop: Shop, file: Path) -> None:
    shop.altered[3] = {"total_amount": b"0.3"}
    outcome = load("--replay", str(file))
    assert outcome.status == 0
    assert sorted(shop.bodies) == sorted(LINES)


def test_a_difference_beyond_a_float_s_precision_is_noticed(load: Load, shop: Shop, file: Path) -> None:
    shop.altered = {
        3: {"total_amount": b"0.3"},
        4: {"user_id": b"9007199254740992"},
        5: {"total_amount": b"10.1000000000000001"},
    }
    outcome = load("--replay", str(file))
    assert outcome.status == 1
    assert outcome.json["read_back"]["different"] == {
        "4": "user_id is 9007199254740992, sent 9007199254740993",
        "5": "total_amount is 10.1000000000000001, sent 10.10",
    }


def test_metadata_that_came_back_changed_is_noticed(load: Load, shop: Shop, file: Path) -> None:
    shop.altered[3] = {"total_amount": b"0.3", "metadata": '{"by": "café", "vat": 0.1, "more": 1}'.encode()}
    assert list(load("--replay", str(file)).json["read_back"]["different"]) == ["3"]


def test_a_repeated_order_is_a_duplicate_and_counts_once(load: Load, file: Path) -> None:
    file.write_bytes(LINES[0] + b"\r\n" + LINES[0] + b"\r\n")
    outcome = load("--replay", str(file), "--concurrency", "1")
    assert outcome.status == 0
    assert (outcome.json["accepted"], outcome.json["duplicates"]) == (1, 1)
    assert "Read back 1 of 1 acknowledged orders" in outcome.out


def test_another_order_that_was_acknowledged_under_the_same_id_is_noticed(load: Load, file: Path) -> None:
    file.write_bytes(LINES[0] + b"\n" + LINES[0].replace(b"10.10", b"10.11") + b"\n")
    outcome = load("--replay", str(file), "--concurrency", "1")
    assert outcome.status == 1
    assert outcome.json["read_back"]["different"] == {"5": "total_amount is 10.10, sent 10.11"}


def test_orders_takes_the_first_of_the_file(load: Load, shop: Shop, file: Path) -> None:
    assert load("--replay", str(file), "--orders", "2").json["accepted"] == 2
    assert sorted(shop.bodies) == sorted(LINES[:2])


def test_a_first_id_renumbers_the_orders_and_changes_nothing_else(file: Path) -> None:
    file.write_bytes(LINES[0] + b"\n" + LINES[1] + b"\n" + LINES[0] + b"\n")
    source = ReplayedOrders(file, limit=HIGHEST, first_id=100)
    assert [source.order_id(index) for index in range(3)] == [100, 101, 100]
    assert source.order(0) == {"order_id": 100, "user_id": 1, "item_ids": [3, 3, 1], "total_amount": Decimal("10.10")}
    assert b'"total_amount":10.10' in source.body(0)
    assert b'"total_amount":"0.30"' in source.body(1)


@cases(
    ("line", "complaint"),
    [
        (b"not json", "line 2: not JSON"),
        (b'{"order_id": 1', "line 2: not JSON"),
        (b"[1]", "line 2: not a JSON object"),
        (b'{"user_id": 1}', "line 2: order_id must be an integer"),
        (b'{"order_id": "1"}', "line 2: order_id must be an integer"),
        (b'{"order_id": true}', "line 2: order_id must be an integer"),
        (b'{"order_id": 1.0}', "line 2: order_id must be an integer"),
        (b'{"order_id": 9223372036854775808}', "line 2: order_id must be an integer"),
        (b'{"order_id": 1, "total_amount": NaN}', "line 2: not JSON"),
        (b'{"order_id": 1, "note": "\xff"}', "line 2: not JSON"),
        (b'{"order_id": 1, "metadata": ' + b"[" * 100_000, "line 2: not JSON"),
    ],
)
def test_a_line_that_is_no_order_is_named_before_anything_is_sent(
    line: bytes, complaint: str, load: Load, shop: Shop, file: Path
) -> None:
    file.write_bytes(LINES[0] + b"\n" + line + b"\n")
    outcome = load("--replay", str(file))
    assert outcome.status == 2
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1
    assert shop.connections == 0


def test_a_file_without_orders_can_t_be_replayed(file: Path) -> None:
    file.write_bytes(b"\n\n")
    with pytest.raises(BadReplay, match="has no orders"):
        ReplayedOrders(file, limit=HIGHEST, first_id=None)


def test_ids_that_would_pass_the_highest_are_refused(file: Path) -> None:
    with pytest.raises(BadReplay, match="line 2: no id below 2"):
        ReplayedOrders(file, limit=HIGHEST, first_id=HIGHEST)


def test_one_byte_order_mark_is_skipped(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert ReplayedOrders(file, limit=HIGHEST, first_id=None).body(0) == LINES[0]
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    with pytest.raises(BadReplay, match="line 1: not JSON"):
        ReplayedOrders(file, limit=HIGHEST, first_id=None)
