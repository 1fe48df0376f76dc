"""Converts errors of SQLite into StorageErrors, and decides whether an error concerns the whole database.

Usable on any thread.
"""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import peewee

from models.errors import StorageBusyError, StorageDamagedError, StorageError, StorageUnavailableError
from models.sqlite.database import is_busy

_DAMAGED_PAGE = ("SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_CORRUPTFS", "SQLITE_IOERR_DATA")
"""I/O errors that mean damage: a file is too short, or its content is wrong."""
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", *_DAMAGED_PAGE)
_INVALID_CONTENT = "SQLITE_ERROR"
"""SQLite's error if a stored text is not JSON, or if a table is missing."""
_ADVICE_ON_CONTENT = "; SQLite's integrity check does not find this damage"
_WHOLE_DATABASE = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_FULL",
    "SQLITE_READONLY",
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_NOTADB",
    "SQLITE_NOMEM",
    "SQLITE_INTERRUPT",
    "SQLITE_PROTOCOL",
    "SQLITE_PERM",
    "SQLITE_AUTH",
)
"""An error whose name begins with one of these names concerns the whole database, except `_READS_OF_A_PAGE`."""
_READS_OF_A_PAGE = ("SQLITE_IOERR_READ", *_DAMAGED_PAGE)
"""These errors can concern a single page, although they are I/O errors."""


@contextmanager
def storage_errors() -> Iterator[None]:
    """Converts errors of SQLite, and errors in decoding its results, into StorageErrors."""
    try:
        yield
    except (peewee.DatabaseError, sqlite3.DatabaseError) as error:
        raise _storage_error(error) from error
    except msgspec.DecodeError as error:
        raise _invalid_content(f"a stored order can't be decoded: {error}", code="SQLITE_CORRUPT") from error


def _storage_error(error: Exception) -> StorageError:
    original = getattr(error, "orig", error)
    if is_busy(error):
        return StorageBusyError("the database is locked by another program", code=_name_of(original))
    if not hasattr(original, "sqlite_errorcode") and isinstance(original, sqlite3.OperationalError):
        # Python's error for a text that is not UTF-8. Its message is not used, because it contains the stored text,
        # which can be personal data.
        return _invalid_content("a stored text is not UTF-8", code="SQLITE_CORRUPT")
    name = _name_of(original)
    if name.startswith(_INVALID_CONTENT):
        return _invalid_content(str(error), code=name)
    kind = StorageDamagedError if name.startswith(_DAMAGE) else StorageUnavailableError
    return kind(str(error), code=name)


def _invalid_content(text: str, *, code: str) -> StorageDamagedError:
    return StorageDamagedError(text, code=code, advice=_ADVICE_ON_CONTENT)


def _name_of(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", "unknown"))


def concerns_orders(error: StorageError) -> bool:
    """Whether the error can concern only some of the orders, so that other orders can still be read and written."""
    return error.code in _READS_OF_A_PAGE or not error.code.startswith(_WHOLE_DATABASE)


def advice_for(path: str) -> str:
    """The end of a log line about damage, which says how to check the database file `path`."""
    return f"; to check the file: python server.py --database {shlex.quote(path)} --check"
