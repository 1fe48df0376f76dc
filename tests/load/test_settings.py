"""The flags: their defaults, and one line for a bad one."""

from pathlib import Path

import pytest

from load.command import main
from load.settings import parse_settings


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--orders", "0"], "--orders: 0 is not between 1 and"),
        (["--orders", "many"], "--orders: 'many' is no whole number"),
        (["--concurrency", "-1"], "--concurrency: -1 is not between 1"),
        (["--batch", "0"], "--batch: 0 is not between 1"),
        (["--batch", "5", "--concurrency", "5"], "--batch and --concurrency exclude each other"),
        (["--first-id", "9223372036854775808"], "--first-id: 9223372036854775808 is not between 1"),
        (["--first-id", "9223372036854775807"], "leaves no room for 1000 ids"),
        (["--url", "ftp://127.0.0.1"], "'ftp://127.0.0.1' is no URL like http://127.0.0.1:8080"),
        (["--url", "127.0.0.1:8080"], "is no URL like"),
        (["--url", "http://127.0.0.1:99999"], "is no URL: Port out of range"),
        (["--url", "http://127.0.0.1/?a=1"], "has more than a host, a port and a path"),
        (["--json", "/nowhere/result.json"], "the folder /nowhere does not exist"),
        (["--json", "/"], "/ is a folder"),
        (["--concurrency", "100000000", "--orders", "100000000"], "100000000 connections need more open files"),
        (["--replay", "/nowhere/orders.ndjson"], "/nowhere/orders.ndjson can't be read: no such file or directory"),
        (["--rate", "5"], "unrecognized arguments: --rate 5"),
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
    assert err.startswith("python -m load: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "concurrency"),
    [
        ([], 1000),
        (["--orders", "10"], 10),
        (["--orders", "5000"], 1000),
        (["--orders", "5000", "--concurrency", "64"], 64),
        (["--batch", "100"], 100),
        (["--replay", "orders.ndjson"], 64),
    ],
)
def test_the_number_of_connections_follows_from_the_flags(flags: list[str], concurrency: int) -> None:
    assert parse_settings(flags).concurrency == concurrency


def test_a_url_may_have_a_path(tmp_path: Path) -> None:
    url = parse_settings(["--url", "http://[::1]:81/shop/"]).url
    assert (url.host, url.port, url.netloc, url.path) == ("::1", 81, "[::1]:81", "/shop")


def test_help_says_what_the_exit_statuses_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_settings(["--help"])
    assert ended.value.code == 0
    assert "exit status: 0 when every order that got a 202" in capsys.readouterr().out
