"""Restores a backup of a database file. Runs on the main thread."""

import sqlite3
from pathlib import Path

from models.errors import BackupError
from models.progress import Progress, Report
from models.sqlite.backup.copy import check_copy, copy_database, describe
from models.sqlite.files.leftover_wal import check_leftover_wal
from models.sqlite.files.opening import check_path
from models.sqlite.files.reading import read_snapshot
from models.sqlite.files.replacement import replacement_of


def restore(path: Path, backup: Path, *, report: Report, progress: Progress) -> None:
    """Replaces the database `path` by a copy of the file `backup`, and keeps the old files under new names.

    Raises BackupError or DatabaseRefusedError. Then, as after any interruption, the database is either unchanged or
    restored: see `models/sqlite/files/replacement.py`.
    """
    check_path(path)
    if not backup.is_file():
        raise BackupError(f"{backup} does not exist, or is not a regular file")
    if path.exists() and backup.samefile(path):
        raise BackupError(f"{backup} is the database itself: it can't be restored to the same file")
    with replacement_of(path) as replacement:
        _copy(backup, replacement.incomplete, progress)
        try:
            if damage := check_copy(replacement.incomplete, is_paced=False, progress=progress):
                raise BackupError(f"{backup} is damaged, so {path} was not changed: {damage}")
            content = describe(replacement.incomplete)
        except sqlite3.DatabaseError as error:
            raise BackupError(f"the copy of {backup} can't be read: {error}") from error
        replacement.decide()
        old = replacement.finish()
    report(f"restored {path} from {backup}: {content}")
    for file in sorted(old.parent.glob(f"{old.name}*")):
        report(f"the old file is now {file}")
    report(
        "Orders that were accepted after the backup was made are missing: send them again. Orders that were processed"
        " after it was made will be processed again."
    )


def _copy(backup: Path, incomplete: Path, progress: Progress) -> None:
    check_leftover_wal(backup.resolve())
    with read_snapshot(backup) as source:
        try:
            # Unlike a backup, a database has the journal mode WAL.
            copy_database(source, incomplete, journal_mode="wal", is_paced=False, progress=progress)
        except sqlite3.DatabaseError as error:
            raise BackupError(f"{backup} can't be copied to {incomplete}: {error}") from error
