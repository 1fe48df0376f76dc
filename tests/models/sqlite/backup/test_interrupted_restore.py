"""Restores that are interrupted or killed, or that another program prevents."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import DatabaseRefusedError
from models.sqlite.backup.backup import back_up
from models.sqlite.backup.restore import restore
from models.sqlite.files.replacement import Replacement, lock_database
from tests.models.sqlite.backup.killed import Killed
from tests.models.sqlite.stored_shop import Reports, contents, ignore, orders_in

OPEN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM orders").fetchone()
print("open", flush=True)
sys.stdin.read()"""


def test_nothing_is_restored_while_another_program_has_the_database_open(killed: Killed) -> None:
    """The other program would remove the WAL of the restored database when it closes the old one."""
    with subprocess.Popen(
        [sys.executable, "-c", OPEN, killed.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        text = rf"orders\.db is in use by another program, process {other.pid}: end it first$"
        for _ in range(2):
            with pytest.raises(DatabaseRefusedError, match=text):
                killed.restore()
        # The next start does not finish a decided replacement either.
        replacement = Replacement(killed.path)
        killed.backup.rename(replacement.incomplete)
        replacement.decide()
        with pytest.raises(DatabaseRefusedError, match=text):
            lock_database(killed.path)
        with pytest.raises(DatabaseRefusedError, match=text):
            back_up(killed.path, killed.backup, report=Reports(), progress=ignore)
        assert replacement.is_decided
        other.communicate()
    assert orders_in(killed.path) == killed.in_backup


@pytest.mark.parametrize("step", ["Copying", "Checking"])
def test_an_interrupted_restore_changes_nothing(killed: Killed, step: str) -> None:
    def interrupt(now: str, done: int = 0, total: int | None = None, /) -> None:
        if now == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(killed.path, killed.backup, report=Reports(), progress=interrupt)
    killed.assert_unchanged()


@pytest.mark.parametrize("renamed", range(5))
def test_the_next_server_finishes_a_replacement_that_was_killed_between_renames(killed: Killed, renamed: int) -> None:
    """`renamed` is how many of the renames of `finish` were made: SQLite's files, the database, the new database."""
    replacement = Replacement(killed.path)
    killed.backup.rename(replacement.incomplete)
    replacement.decide()
    assert replacement.is_decided
    names = contents(killed.path.parent)
    old = replacement.finish()
    # Undoes the last renames.
    if renamed < 4:
        killed.path.rename(f"{killed.path}.replacement")
    for suffix in ("-wal", "-shm", "")[renamed:]:
        Path(f"{old}{suffix}").rename(f"{killed.path}{suffix}")
    assert renamed > 0 or contents(killed.path.parent) == names
    killed.assert_restored()


def test_the_rest_of_a_killed_copy_is_removed_at_the_next_start(killed: Killed) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{killed.path}.incomplete{suffix}").write_bytes(b"x")
    assert orders_in(killed.path) == killed.latest
    assert list(contents(killed.path.parent)) == ["orders.db"]
