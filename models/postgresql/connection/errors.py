"""Converts errors of PostgreSQL into StorageErrors, and decides which can be retried. Usable on any thread.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import peewee
import psycopg

from models.errors import StorageBusyError, StorageDamagedError, StorageError, StorageUnavailableError

CONNECTION_FAILURE = "08006"
"""Stands for an error without a code: the connection could not be opened, or broke."""
IN_FAILED_TRANSACTION = "25P02"

_TEMPORARY = (
    "08",  # connection exceptions
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "25006",  # read_only_sql_transaction: the connection is to a standby
    "25P03",  # idle_in_transaction_session_timeout
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "53300",  # too_many_connections
    "55P03",  # lock_not_available: the lock was not released in time
)
# libpq gives no code for an error of a new connection. If the messages of the server are not English, these errors are
# retried in vain.
_REFUSED = re.compile(
    r"no password supplied|authentication failed|FATAL: .*(does not exist|not permitted to log in|pg_hba|permission)"
)
"""The server does not accept the role, its password or the name of the database."""
_BUSY = ("55P03", "57014")
"""The errors for a lock that was not released in time, and for a statement that took too long."""
_DAMAGE = ("XX001", "XX002")
"""The errors for damaged data, and for a damaged index."""
_CONTENT = ("22", "23", "54", *_DAMAGE)
"""An error whose code begins with one of these codes can concern only some of the orders."""
_ADVICE = "; to check the database: pg_amcheck"


class StillRunningError(psycopg.OperationalError):
    """The server has not yet ended the transaction of a connection that broke."""

    sqlstate = "08007"  # transaction_resolution_unknown


def original_of(error: BaseException) -> BaseException:
    """psycopg's error that Peewee has wrapped, or the error itself."""
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error


def code_of(error: BaseException) -> str:
    """The five characters of the error's code."""
    return getattr(original_of(error), "sqlstate", None) or CONNECTION_FAILURE


def is_temporary(error: BaseException) -> bool:
    """Whether the whole transaction can succeed if it is run again, possibly on a new connection."""
    original = original_of(error)
    if not isinstance(original, psycopg.Error):
        return False
    if original.sqlstate is None:
        # psycopg raises an InterfaceError, for example, for a connection that has been closed.
        is_of_connection = isinstance(original, psycopg.OperationalError | psycopg.InterfaceError)
        return is_of_connection and not _REFUSED.search(str(original))
    return original.sqlstate.startswith(_TEMPORARY)


def concerns_orders(error: StorageError) -> bool:
    """Whether the error can concern only some of the orders, so that other orders can still be written."""
    return error.code.startswith(_CONTENT)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Converts errors of PostgreSQL, and errors in decoding its results, into StorageErrors."""
    try:
        yield
    except (peewee.PeeweeException, psycopg.Error) as error:
        raise _storage_error(error) from error
    except msgspec.DecodeError as error:
        raise StorageDamagedError(f"a stored order can't be decoded: {error}", code=_DAMAGE[0]) from error


def text_of(error: BaseException) -> str:
    """The message of the error in one line, without details, which can contain the values of an order."""
    original = original_of(error)
    diagnosis = getattr(original, "diag", None)
    text = (diagnosis and diagnosis.message_primary) or str(original)
    return next(iter(text.strip().splitlines()), type(original).__name__)


def _storage_error(error: BaseException) -> StorageError:
    code, text = code_of(error), text_of(error)
    if code.startswith(_BUSY):
        return StorageBusyError(f"the database is busy: {text}", code=code)
    if code.startswith(_DAMAGE):
        return StorageDamagedError(text, code=code, advice=_ADVICE)
    return StorageUnavailableError(text, code=code)
