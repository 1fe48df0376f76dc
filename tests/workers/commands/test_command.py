"""The flags of commands."""

from pathlib import Path

import pytest

from server import parse_settings
from workers.commands.command import Command

URL = "postgresql://shop@db.example/orders"


def test_a_command_has_the_values_of_its_flags() -> None:
    assert parse_settings([], {}).command is None
    path = Path("shop.db")
    for flags, expected in (
        (["--backup", "b.db"], Command(database=path, backup=Path("b.db"))),
        (["--restore", "b.db"], Command(database=path, restore=Path("b.db"))),
        (["--check"], Command(database=path, check=True)),
        (["--check", "--repair"], Command(database=path, check=True, repair=True)),
    ):
        assert parse_settings(["--database", "shop.db", *flags], {}).command == expected
        assert parse_settings(flags, {"ORDERS_DATABASE": "shop.db"}).command == expected


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--check", "--backup", "a.db"), "--backup and --check can't be used together"),
        (("--restore", "a.db", "--backup", "b.db"), "--backup and --restore can't be used together"),
        (("--repair",), "--repair needs --check"),
        (("--backup",), "argument --backup: expected one argument"),
        *(
            (
                (*flags, "--database", URL),
                f"{flags[0]} needs a SQLite file as --database: back up and check a PostgreSQL database with"
                " PostgreSQL's own tools, such as pg_dump, pgBackRest and pg_amcheck",
            )
            for flags in (("--backup", "a.db"), ("--restore", "a.db"), ("--check",), ("--check", "--repair"))
        ),
    ],
)
def test_wrong_flags_are_refused_in_one_line(
    flags: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        parse_settings(flags, {})
    assert refused.value.code == 2
    assert capsys.readouterr().err.endswith(f"\nserver.py: error: {text}\n")
