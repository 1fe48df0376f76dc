"""Repairs a database file whose totals or indexes are wrong. Runs on the main thread.

Copies the rows of the tables to a new file, computes the totals and the blocks again, and creates the indexes again. So
the repair also works if pages of an index are damaged: `REINDEX` fails in this case. The old file is never written.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from models.errors import BackupError, StorageDamagedError, StorageError
from models.progress import Progress, Report
from models.sqlite.backup.copy import describe
from models.sqlite.check import check_statements as statements
from models.sqlite.check.check import find_errors, report_findings
from models.sqlite.damage.faults import storage_errors
from models.sqlite.files.leftover_wal import check_leftover_wal
from models.sqlite.files.opening import check_path
from models.sqlite.files.owner import read_only_uri
from models.sqlite.files.reading import interruptible, read_snapshot
from models.sqlite.files.replacement import replacement_of
from models.sqlite.schema.migrations import SCHEMA_VERSION

_MEASUREMENTS = "measurements"
"""A table that is not copied, because it must not prevent a repair if it is damaged, and charts can do without it."""


def repair(path: Path, *, report: Report, progress: Progress) -> bool:
    """Reports each error in the database `path`, and repairs what can be repaired. Returns whether no error is left.

    Keeps the old files under new names. Raises BackupError if rows of a table are damaged, and DatabaseRefusedError if
    a server uses the file. In both cases, and if there is no error, the database is unchanged.
    """
    check_path(path)
    if not path.exists() or not path.stat().st_size:
        raise BackupError(f"{path} does not exist, or is empty")
    with replacement_of(path) as replacement:
        try:
            check_leftover_wal(path.resolve())
            with read_snapshot(path) as source:
                found = find_errors(source, progress=progress)
            report_findings(path, found, report)
            if not any(finding.is_repairable for finding in found):
                return not found
            replacement.incomplete.touch(0o600)
            with storage_errors():
                _rebuild(path.resolve(), replacement.incomplete, progress)
            with read_snapshot(replacement.incomplete) as rebuilt:
                left = find_errors(rebuilt, progress=progress)
            if any(finding.is_repairable for finding in left):
                raise BackupError(f"{path} was not changed: after the repair, {left[0].line}")
            content = describe(replacement.incomplete)
        except StorageDamagedError as error:
            raise BackupError(
                f"{path} was not changed, because orders are damaged: {error}: restore a backup"
            ) from error
        except (StorageError, sqlite3.DatabaseError) as error:
            raise BackupError(f"{path} was not changed: {error}") from error
        replacement.decide()
        old = replacement.finish()
    report(f"repaired {path}: {content}; the old database is now {old}")
    return not left


def _rebuild(path: Path, target: Path, progress: Progress) -> None:
    """Writes a new database with the rows of the database `path`. Raises sqlite3.DatabaseError if it can't be read."""
    with (
        closing(sqlite3.connect(target.as_uri(), uri=True, isolation_level=None)) as connection,
        interruptible(connection, lambda: progress("Copying orders")),
    ):
        progress("Copying orders")
        execute = connection.execute
        execute("PRAGMA synchronous = off")
        execute("ATTACH ? AS damaged", (read_only_uri(path),))
        execute("BEGIN")
        [version] = execute("PRAGMA damaged.user_version").fetchone()
        # The next start of the server computes the blocks of older versions.
        computed = ("totals", "blocks") if version == SCHEMA_VERSION else ()
        parts = execute(statements.SCHEMA).fetchall()
        for kind, name, sql in parts:
            if kind == "table":
                execute(sql)
                if name not in computed and name != _MEASUREMENTS:
                    execute(statements.COPY_ROWS.format(table=name))
        if computed:
            if totals := _totals_in(path):
                execute(statements.INSERT_TOTALS.format(values=", ".join("?" * len(totals))), totals)
            else:
                execute(statements.INSERT_NEW_TOTALS)
            execute(statements.INSERT_BLOCKS)
        execute(statements.SET_TOTALS, execute(statements.RECOUNT).fetchone()[: len(statements.TOTALS_NAMES)])
        if computed:
            execute(statements.ADD_ARCHIVED)
        for kind, _, sql in parts:
            if kind != "table":
                execute(sql)
        for name in ("application_id", "user_version"):
            execute(f"PRAGMA {name} = {execute(f'PRAGMA damaged.{name}').fetchone()[0]}")
        execute("COMMIT")
        execute("DETACH damaged")
        execute("PRAGMA journal_mode = wal")


def _totals_in(path: Path) -> tuple[object, ...] | None:
    """The row of the table `totals`; None if it is missing or damaged.

    Uses a connection of its own: after SQLITE_CORRUPT, a transaction of the same connection can't continue.
    """
    with closing(sqlite3.connect(read_only_uri(path), uri=True)) as connection, suppress(sqlite3.DatabaseError):
        row: tuple[object, ...] | None = connection.execute(statements.READ_TOTALS).fetchone()
        return row
    return None
