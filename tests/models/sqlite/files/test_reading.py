"""Long statements of commands that only read the file."""

import sqlite3
from contextlib import closing

import pytest

from models.sqlite.files.reading import interruptible

ENDLESS = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number) SELECT max(n) FROM number"


def test_a_signal_handler_can_interrupt_a_statement() -> None:
    calls = []

    def on_progress() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with closing(sqlite3.connect(":memory:")) as connection:
        with pytest.raises(KeyboardInterrupt), interruptible(connection, on_progress):
            connection.execute(ENDLESS)
        assert len(calls) == 3


def test_another_error_is_not_an_interrupt() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
        interruptible(connection, lambda: None),
    ):
        connection.execute("SELECT * FROM missing")
