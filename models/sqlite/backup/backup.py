"""Backs up a database file, also while a server uses it. Runs on the main thread."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import BackupError
from models.progress import Progress, Report
from models.sqlite.backup.copy import check_copy, copy_database, describe
from models.sqlite.files.file_format import DATABASE_MAGIC
from models.sqlite.files.lock import LockedFile
from models.sqlite.files.reading import snapshot
from models.sqlite.files.replacement import SQLITE_SUFFIXES, sync
from models.sqlite.schema.tables import APPLICATION_ID

JOURNAL_MODE = "delete"
"""The journal mode of a backup. It distinguishes a backup from the database of a server, whose mode is WAL. Besides, a
backup with this mode can be read where nothing can be written."""
_HEADER_BYTES = 100
_FORMAT_VERSIONS, _APPLICATION_ID = slice(18, 20), slice(68, 72)
_WITHOUT_WAL = b"\1\1"
"""The file format versions of a database whose journal mode is not WAL."""


def back_up(path: Path, target: Path, *, report: Report, progress: Progress) -> None:
    """Writes a backup of the database `path` to the file `target`. Checks and syncs it before it replaces an older one.

    Raises BackupError or DatabaseRefusedError. Then, as after any interruption, `target` is unchanged.
    """
    _check_target(path, target)
    try:
        with _incomplete_file(target) as incomplete:
            began_s = time.monotonic()
            is_served = _copy(path, target, incomplete, progress)
            copied_s = time.monotonic()
            if damage := check_copy(incomplete, is_paced=is_served, progress=progress):
                raise BackupError(f"{path} is damaged, so {target} was not written: {damage}")
            checked_s = time.monotonic()
            content = describe(incomplete)
            incomplete.chmod(path.stat().st_mode & 0o777)
            sync(incomplete)
            incomplete.rename(target.resolve())
            sync(target.resolve().parent)
    except sqlite3.DatabaseError as error:
        raise BackupError(f"the copy of {path} can't be read: {error}") from error
    except OSError as error:
        raise BackupError(f"{target} can't be written: {error.strerror or error}") from error
    times = f"copied in {copied_s - began_s:.1f} s, checked in {checked_s - copied_s:.1f} s"
    report(f"{target}: {content}; {target.stat().st_size:,} bytes, {times}")


def _copy(path: Path, target: Path, incomplete: Path, progress: Progress) -> bool:
    """Copies the database to `incomplete`. Returns whether a server uses the database."""
    with snapshot(path) as source:
        try:
            copy_database(
                source.connection,
                incomplete,
                journal_mode=JOURNAL_MODE,
                is_paced=source.is_served,
                progress=progress,
            )
        except sqlite3.DatabaseError as error:
            raise BackupError(f"{path} can't be copied to {target}: {error}") from error
        return source.is_served


def _check_target(path: Path, target: Path) -> None:
    """Raises BackupError if `target` exists and is neither empty nor a backup, or belongs to the database."""
    database = path.resolve()
    own = [f"{database}{suffix}" for suffix in ("", *SQLITE_SUFFIXES, ".lock", ".incomplete", ".replacement")]
    if str(target.resolve()) in own or (target.exists() and path.exists() and target.samefile(path)):
        raise BackupError(f"{target} belongs to the database itself: choose another name for the backup")
    if target.is_dir():
        raise BackupError(f"{target} is a folder: choose a name for the backup in it")
    if target.exists() and not (target.is_file() and _is_replaceable(target.resolve())):
        raise BackupError(f"{target} exists, and is not a backup: choose another name for the backup")


def _is_replaceable(target: Path) -> bool:
    if any(Path(f"{target}{suffix}").exists() for suffix in SQLITE_SUFFIXES):
        return False
    with target.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    return not header or (
        header.startswith(DATABASE_MAGIC)
        and header[_FORMAT_VERSIONS] == _WITHOUT_WAL
        and header[_APPLICATION_ID] == APPLICATION_ID.to_bytes(4, "big")
    )


@contextmanager
def _incomplete_file(target: Path) -> Iterator[Path]:
    """The file to which the backup is written before it is complete. Removes the file at the end of the block."""
    path = Path(f"{target.resolve()}.incomplete")
    try:
        file = LockedFile(path)
    except BlockingIOError:
        raise BackupError(f"another backup to {target} is running") from None
    try:
        path.chmod(0o600)
        yield path
    finally:
        for suffix in SQLITE_SUFFIXES:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        file.remove()
