"""Tests replaying orders from a CSV file: what is sent, and what is rejected."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from load.cli.flags import HIGHEST
from load.orders.comparison import decode_json
from load.orders.sources import BadReplay, ReplayedOrders
from tests.cases import cases
from tests.examples import examples
from tests.load.conftest import Load
from tests.load.shop import Shop

HEADER = "order_id,user_id,item_ids,total_amount,metadata"
IDS = st.integers(1, HIGHEST)
AMOUNTS = (
    st.decimals(0, "9999999999.9999", places=4) | st.decimals(0, "9999999999.99", places=2) | st.integers(0, 10**10)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
ORDERS = st.fixed_dictionaries(
    {
        "order_id": IDS.map(str),
        "user_id": IDS.map(str),
        "item_ids": st.lists(IDS, min_size=1, max_size=5),
        "total_amount": AMOUNTS.map(lambda amount: format(amount, "f")),
    },
    optional={"metadata": st.dictionaries(TEXTS, VALUES, max_size=3)},
)


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def _read(path: Path) -> ReplayedOrders:
    return ReplayedOrders(path, limit=HIGHEST, first_id=None)


def _bodies(path: Path) -> list[bytes]:
    source = _read(path)
    return [source.body(index) for index in range(len(source))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def _ndjson_of(order: dict[str, Any]) -> str:
    values = order | {name: json.dumps(order[name]) for name in ("item_ids", "metadata") if name in order}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50))
@given(data=st.data(), orders=st.lists(ORDERS, min_size=1, max_size=4))
def test_the_same_orders_as_csv_and_as_ndjson_are_the_same_orders(
    tmp_path: Path, data: st.DataObject, orders: list[dict[str, Any]]
) -> None:
    ndjson = tmp_path / "orders.ndjson"
    ndjson.write_text("\n".join(map(_ndjson_of, orders)), encoding="utf-8")
    columns = data.draw(st.permutations(HEADER.split(",")), "columns")
    between = data.draw(st.sampled_from([" ", ";", "|", " ; ", "  ", "\n"]), "what is between items")
    indent = data.draw(st.sampled_from([None, 2]), "indent")
    as_array = data.draw(st.booleans(), "items as an array")
    line_end = data.draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]), "line end")
    # Before Python 3.13, csv quotes a line break in a field only if the line end contains the same character.
    kinds = [csv.QUOTE_ALL] if line_end == "\r" else [csv.QUOTE_ALL, csv.QUOTE_MINIMAL]
    with (tmp_path / "orders.csv").open(
        "w", encoding=data.draw(st.sampled_from(["utf-8", "utf-8-sig"]), "encoding"), newline=""
    ) as file:
        writer = csv.DictWriter(
            file,
            columns,
            restval="",
            lineterminator=line_end,
            quoting=data.draw(st.sampled_from(kinds), "quoting"),
        )
        writer.writeheader()
        for order in orders:
            items = json.dumps(order["item_ids"]) if as_array else between.join(map(str, order["item_ids"]))
            row = order | {"item_ids": items}
            if "metadata" in order:
                row["metadata"] = json.dumps(order["metadata"], ensure_ascii=False, indent=indent)
            writer.writerow(row)
    one, other = _read(tmp_path / "orders.csv"), _read(ndjson)
    assert len(one) == len(other) == len(orders)
    for index in range(len(orders)):
        assert one.order(index) == other.order(index)
        assert one.order_id(index) == other.order_id(index)
        assert one.order(index) == decode_json(one.body(index))
        assert b"\n" not in one.body(index)


def test_values_are_sent_unchanged(path: Path) -> None:
    _write(path, HEADER, '1,9007199254740993,3 3 1,9.90,"{""vat"": 0.10, ""by"": ""café""}"', "2, 7 ,4,-0.0E+1,")
    assert _bodies(path) == [
        '{"order_id": 1, "user_id": 9007199254740993, "item_ids": [3, 3, 1], "total_amount": 9.90, '
        '"metadata": {"vat": 0.10, "by": "café"}}'.encode(),
        b'{"order_id": 2, "user_id": 7, "item_ids": [4], "total_amount": -0.0E+1}',
    ]


@cases(
    ("name", "text", "sent"),
    [
        ("user_id", "", ""),
        ("user_id", "007", "007"),
        ("user_id", "+7", "+7"),
        ("user_id", "7.", "7."),
        ("user_id", "\u0667", "\u0667"),
        ("user_id", "true", "true"),
        ("total_amount", "NaN", "NaN"),
        ("total_amount", '"1,234.50"', "1,234.50"),
        ("total_amount", '"say ""nine"""', 'say "nine"'),
        ("total_amount", "1e400", Decimal("1e400")),
        ("item_ids", "", []),
        ("item_ids", "1;;x 2", [1, "", "x", 2]),
        ("item_ids", '"1, 2"', ["1,", 2]),
        ("item_ids", '"[1, 2.50, ""3""]"', [1, Decimal("2.50"), "3"]),
        ("item_ids", '"[1, 2"', "[1, 2"),
        ("metadata", "5", 5),
        ("metadata", "[5]", "[5]"),
        ("metadata", "{note: 5}", "{note: 5}"),
    ],
)
def test_invalid_values_are_sent_for_the_server_to_refuse(name: str, text: str, sent: object, path: Path) -> None:
    values = {"order_id": "1", "user_id": "1", "item_ids": "1", "total_amount": "1", "metadata": "", name: text}
    assert _read(_write(path, ",".join(values), ",".join(values.values()))).order(0)[name] == sent


def test_the_csv_extension_may_be_in_upper_case(tmp_path: Path) -> None:
    assert len(_read(_write(tmp_path / "ORDERS.Csv", HEADER, "1,2,3,4,", "", " ", ",,,,", '"2",2,3,4,'))) == 2


def test_orders_and_a_first_id_count_as_for_ndjson(load: Load, shop: Shop, path: Path) -> None:
    _write(path, HEADER, "5,1,1,9.90,", "3,1,1 2,1,", "5,1,1,9.90,", "not an order")
    outcome = load("--replay", str(path), "--orders", "3", "--first-id", "100", "--concurrency", "1")
    assert outcome.status == 0
    assert shop.ids == [100, 101, 100]
    assert [b'"total_amount":9.90' in body for body in shop.bodies] == [True, False, True]
    assert (outcome.json["accepted"], outcome.json["duplicates"]) == (2, 1)


@cases(
    ("content", "complaint"),
    [
        (
            b"1,2,3,4\n",
            "line 1: unknown column '1': the header must name order_id, user_id, item_ids, total_amount, and",
        ),
        (b"\n\norder_id,user_id,item_ids\n", "line 3: the column total_amount is missing"),
        (
            b"order_id;user_id;item_ids;total_amount\n",
            "line 1: unknown column 'order_id;user_id;item_ids;total_amount'",
        ),
        (b"sep=;\norder_id;user_id\n", "line 1: unknown column 'sep=;'"),
        (
            b"order_id,user_id,item_ids,total_amount,,\n1,2,3,4,,\n2,2,3,4,,x\n",
            "line 3: 'x' is in a column that has no",
        ),
        (
            HEADER.encode() + b"\n1.79539E+15,2,3,4,\n",
            "line 2: order_id must be an integer from 1 to 2^63-1, not 1.79539E+15: a spreadsheet has rounded it",
        ),
        (b'"a\nb",user_id\n', r"line 1: unknown column 'a\nb'"),
        (b"order_id,user_id,item_ids,total_amount,user_id\n", "line 1: the column user_id appears twice"),
        (HEADER.encode() + b"\n1,2,3,4\n", "line 2: 4 fields, but the header names 5 columns"),
        (HEADER.encode() + b"\n1,2,3,4,,\n", "line 2: 6 fields, but the header names 5 columns"),
        (HEADER.encode() + b'\n1,2,"3\n4",5,\n\n1,2\n', "line 5: 2 fields"),
        (HEADER.encode() + b"\r1,2,3,4,\r1,2\r", "line 3: 2 fields"),
        (HEADER.encode() + b'\n1,2,3,4,"{\n}\n', "line 2: not CSV: unexpected end of data (is a quote left open"),
        (HEADER.encode() + b'\n1,2,3,4,"{"a": 1}"\n', "line 2: not CSV: ',' expected after '\"'"),
        (HEADER.encode() + b'\n1,2,3,4,"' + b"\n" * 200_000, "line 2: not CSV: field larger than field limit"),
        (HEADER.encode() + b"\n\n01,2,3,4,\n", "line 3: order_id must be an integer"),
        (HEADER.encode() + b"\nA-17,2,3,4,\n", "line 2: order_id must be an integer"),
        (HEADER.encode() + b"\n1,1e999999999999999999999,3,4,\n", "line 2: not JSON"),
    ],
)
def test_a_bad_file_is_named_with_the_line_before_anything_is_sent(
    content: bytes, complaint: str, load: Load, shop: Shop, path: Path
) -> None:
    path.write_bytes(content)
    outcome = load("--replay", str(path))
    assert outcome.status == 2
    assert f"{path}, {complaint}" in outcome.err
    assert outcome.err.count("\n") == 1
    assert shop.connections == 0


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf\r\n", HEADER.encode() + b"\n,,,,\n"])
def test_a_file_without_a_row_has_no_orders(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(BadReplay, match="has no orders"):
        _read(path)


@pytest.mark.parametrize("content", [HEADER.encode() + b'\n1,2,3,4,\n1,2,"3\n\xe9",4\n', HEADER.encode("utf-16")])
def test_a_file_that_is_not_utf_8_has_no_orders(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(BadReplay, match=rf"{path}: not UTF-8"):
        _read(path)


def test_a_file_that_is_not_there_can_t_be_read(path: Path) -> None:
    with pytest.raises(BadReplay, match="can't be read: no such file"):
        _read(path)


def test_what_a_spreadsheet_adds_is_skipped(path: Path) -> None:
    plain = _bodies(_write(path, "order_id,user_id,item_ids,total_amount", "1,2,3,4"))
    assert _bodies(_write(path, "order_id,user_id,item_ids,total_amount,,", "1,2,3,4,,", "")) == plain
    assert _bodies(_write(path, "\ufefforder_id, ,user_id,item_ids,total_amount", "1,,2,3,4")) == plain
    with pytest.raises(BadReplay, match="unknown column"):
        _bodies(_write(path, "\ufeff\ufefforder_id,user_id,item_ids,total_amount", "1,2,3,4"))
