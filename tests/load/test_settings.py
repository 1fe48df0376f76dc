"""Tests the flags: their defaults, and one-line errors."""

from pathlib import Path

import pytest

from load.command import main
from load.settings import parse_settings
from tests.cases import cases


@cases(
    ("flags", "complaint"),
    [
        (["--orders", "0"], "--orders: 0 is not between 1 and"),
        (["--orders", "many"], "--orders: 'many' is not a whole number"),
        (["--concurrency", "-1"], "--concurrency: -1 is not between 1"),
        (["--batch", "0"], "--batch: 0 is not between 1"),
        (["--batch", "5", "--concurrency", "5"], "--batch and --concurrency exclude each other"),
        (["--first-id", "9223372036854775808"], "--first-id: 9223372036854775808 is not between 1"),
        (["--first-id", "9223372036854775807"], "leaves no room for 1000 ids"),
        (["--url", "ftp://127.0.0.1"], "--url: not a URL like http://127.0.0.1:8080"),
        (["--url", "127.0.0.1:8080"], "not a URL like"),
        (["--url", "http://127.0.0.1:99999"], "its port is not a number up to 65535"),
        (["--url", "http://127.0.0.1/?a=1"], "has more than a host, a port and a path"),
        (["--json", "/nowhere/result.json"], "/nowhere/result.json can't be written: no such file or directory"),
        (["--json", "/"], "/ can't be written: is a directory"),
        (["--concurrency", "100000000", "--orders", "100000000"], "100000000 connections need more open files"),
        (["--batch", "100000000", "--orders", "100000000"], "are possible, with --batch "),
        (["--url", "http://me:secret@127.0.0.1"], "the URL has a user name or a password"),
        (["--url", "http://me:p/secret@127.0.0.1:x"], "its port is not a number up to 65535"),
        (["--url", "http://me:secret"], "its port is not a number up to 65535"),
        (["--url", "http://127.0.0.1/?key=secret"], "the URL has more than a host"),
        (["--api-key", "secret", "--apikey", "secret"], "unknown flags: --apikey (--help"),
        (["--apikey=secret", "-ksecret"], "unknown flags: --apikey (--help"),
        (["secret"], "unexpected arguments"),
        (["--orders", "orderskey_secret"], "--orders: 'orderskey_...' is not a whole number"),
        (["--replay", "/nowhere/orderskey_secret.csv"], "/nowhere/orderskey_... can't be read"),
        (["--replay", "/nowhere/orders.ndjson"], "/nowhere/orders.ndjson can't be read: no such file or directory"),
        (["--bulk", "0"], "--bulk: 0 is not between 1 and 1000"),
        (["--bulk", "1001"], "--bulk: 1001 is not between 1 and 1000"),
        (["--bulk", "5", "--batch", "5"], "--batch and --bulk exclude each other"),
        (["--rate", "0"], "--rate: 0 is not between 0.001 and 1000000"),
        (["--rate", "inf"], "--rate: 'inf' is not a number of orders a second"),
        (["--rate", "5", "--batch", "5"], "--batch and --rate exclude each other"),
        (["--duration", "5"], "--duration needs --rate"),
        (["--rate", "5", "--duration", "0"], "--duration: 0 is not more than 0"),
        (["--rate", "5", "--duration", "nan"], "--duration: 'nan' is not a number of seconds"),
        (["--rate", "5", "--duration", "5", "--orders", "5"], "--duration and --orders exclude each other"),
        (["--rate", "5", "--duration", "5", "--replay", "x"], "--duration and --replay exclude each other"),
        (["--warm-up", "-1"], "--warm-up: -1 is not between 0 and 86400 seconds"),
        (["--rate", "1000000", "--duration", "1000", "--first-id", "9223372036854775000"], "for 1000000000 ids below"),
        (["--report", "-"], "must be the path of a file, not -"),
        (["--report", "/nowhere/page.html"], "/nowhere/page.html can't be written: no such file or directory"),
        (["--json", "same", "--report", "same"], "--json and --report name the same file"),
        (["--api-key", ""], "--api-key: the key is empty"),
    ],
)
def test_a_bad_flag_is_one_clear_line_and_status_2(
    flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(flags)
    except SystemExit as ended:
        status = ended.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert complaint in err
    assert "secret" not in err
    assert err.startswith("python -m load: ")
    assert err.count("\n") == 1


@cases(
    ("flags", "concurrency"),
    [
        ([], 1000),
        (["--orders", "10"], 10),
        (["--orders", "5000"], 1000),
        (["--orders", "5000", "--concurrency", "64"], 64),
        (["--batch", "100"], 100),
        (["--replay", "orders.ndjson"], 64),
        (["--bulk", "1000"], 4),
        (["--bulk", "1000", "--concurrency", "16"], 16),
        (["--replay", "orders.ndjson", "--bulk", "10"], 4),
        (["--rate", "100"], 1000),
        (["--rate", "100", "--concurrency", "8"], 8),
    ],
)
def test_the_number_of_connections_follows_from_the_flags(flags: list[str], concurrency: int) -> None:
    assert parse_settings(flags).concurrency == concurrency


@cases(
    ("flags", "orders", "duration_s"),
    [
        ([], 1000, None),
        (["--bulk", "50"], 5000, None),
        (["--rate", "200"], 2000, 10.0),
        (["--rate", "200", "--duration", "0.1"], 20, 0.1),
        (["--rate", "10", "--duration", "0.01"], 1, 0.01),
        (["--rate", "200", "--duration", "3", "--warm-up", "0.5"], 700, 3.0),
        (["--rate", "200", "--orders", "7"], 7, None),
        (["--rate", "200", "--warm-up", "0"], 2000, 10.0),
        (["--rate", "0.5"], 5, 10.0),
        (["--rate", "2.5", "--duration", "1"], 3, 1.0),
    ],
)
def test_the_number_of_orders_follows_from_the_flags(flags: list[str], orders: int, duration_s: float | None) -> None:
    settings = parse_settings(flags)
    assert (settings.orders, settings.duration_s) == (orders, duration_s)


def test_the_key_comes_from_the_flag_or_else_from_the_environment() -> None:
    assert parse_settings([]).api_key == ""
    assert parse_settings([], {"ORDERS_KEY": ""}).api_key == ""
    assert parse_settings([], {"ORDERS_KEY": "from-outside"}).api_key == "from-outside"
    settings = parse_settings(["--api-key", "given"], {"ORDERS_KEY": "from-outside"})
    assert settings.api_key == "given"
    assert "given" not in repr(settings)


@cases("key", ["line\r\nX: y", "a space", "schl\u00fcssel", "\x00"])
def test_a_key_that_can_t_be_in_a_header_is_refused_and_not_repeated(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, environment in ((["--api-key", key], {}), ([], {"ORDERS_KEY": key})):
        with pytest.raises(SystemExit) as ended:
            parse_settings(flags, environment)
        err = capsys.readouterr().err
        assert ended.value.code == 2
        assert "the key has a character that is not allowed in a header" in err
        assert key not in err


def test_a_url_may_have_a_path(tmp_path: Path) -> None:
    url = parse_settings(["--url", "http://[::1]:81/shop/"]).url
    assert (url.host, url.port, url.netloc, url.path) == ("::1", 81, "[::1]:81", "/shop")


def test_https_has_a_port_of_its_own() -> None:
    url = parse_settings(["--url", "https://shop.example"]).url
    assert (url.scheme, url.port, str(url)) == ("https", 443, "https://shop.example")


def test_help_says_what_the_exit_statuses_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_settings(["--help"])
    assert ended.value.code == 0
    assert "exit status: 0 when every order that got a 202" in capsys.readouterr().out
