"""Which errors of PostgreSQL are retried, and to which StorageErrors they are converted."""

import msgspec
import peewee
import psycopg
import pytest
from psycopg import errors

from models.errors import StorageBusyError, StorageDamagedError, StorageError, StorageUnavailableError
from models.postgresql.connection.errors import (
    CONNECTION_FAILURE,
    code_of,
    concerns_orders,
    is_temporary,
    storage_errors,
)
from tests.cases import cases

TEMPORARY = [
    errors.ConnectionFailure,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.TooManyConnections,
]
"""The kinds of errors after which the same transaction can succeed."""
LASTING = [errors.DiskFull, errors.UndefinedTable, errors.InsufficientPrivilege, errors.UniqueViolation]


class Wrapped(peewee.OperationalError):
    """The error as Peewee raises it."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.orig = error


@cases("kind", TEMPORARY)
def test_errors_that_end_by_themselves_are_temporary(kind: type[psycopg.Error]) -> None:
    assert is_temporary(kind("x"))
    assert is_temporary(Wrapped(kind("x")))


@cases("kind", LASTING)
def test_other_errors_are_not_temporary(kind: type[psycopg.Error]) -> None:
    assert not is_temporary(kind("x"))
    assert not is_temporary(Wrapped(kind("x")))


def test_an_error_of_the_connection_without_a_code_is_temporary_and_gets_a_code() -> None:
    for error in (psycopg.OperationalError("server closed the connection"), psycopg.InterfaceError("closed")):
        assert is_temporary(error)
        assert code_of(error) == CONNECTION_FAILURE
    assert not is_temporary(psycopg.ProgrammingError("the query has 0 placeholders"))
    assert not is_temporary(ValueError("x"))


@cases(
    "text",
    [
        'FATAL:  password authentication failed for user "shop"',
        'FATAL:  database "nope" does not exist',
        'FATAL:  role "nope" does not exist',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "shop", database "orders", no encryption',
        "connection failed: fe_sendauth: no password supplied",
    ],
)
def test_a_refused_connection_is_not_tried_again(text: str) -> None:
    assert not is_temporary(psycopg.OperationalError(text))


@cases(
    "text",
    [
        "FATAL:  the database system is starting up",
        "FATAL:  sorry, too many clients already",
        "FATAL:  terminating connection due to administrator command",
        "Connection refused",
    ],
)
def test_a_connection_that_can_succeed_later_is_tried_again(text: str) -> None:
    assert is_temporary(psycopg.OperationalError(text))


@cases(
    ("error", "kind", "code"),
    [
        (errors.DiskFull("no space"), StorageUnavailableError, "53100"),
        (errors.LockNotAvailable("x"), StorageBusyError, "55P03"),
        (errors.QueryCanceled("x"), StorageBusyError, "57014"),
        (errors.DataCorrupted("invalid page"), StorageDamagedError, "XX001"),
        (errors.IndexCorrupted("x"), StorageDamagedError, "XX002"),
        (psycopg.OperationalError("x"), StorageUnavailableError, CONNECTION_FAILURE),
        (Wrapped(errors.DiskFull("no space")), StorageUnavailableError, "53100"),
        (msgspec.DecodeError("x"), StorageDamagedError, "XX001"),
    ],
)
def test_errors_become_storage_errors(error: Exception, kind: type[StorageError], code: str) -> None:
    with pytest.raises(StorageError) as raised, storage_errors():
        raise error
    assert (type(raised.value), raised.value.code) == (kind, code)


def test_the_text_of_a_storage_error_is_the_first_line() -> None:
    error = psycopg.OperationalError("server closed the connection unexpectedly\n\tThis probably means that …\n")
    with pytest.raises(StorageError) as raised, storage_errors():
        raise error
    assert str(raised.value) == "server closed the connection unexpectedly"


@cases(
    ("code", "expected"),
    [("XX001", True), ("22003", True), ("23505", True), ("54000", True), ("53100", False), ("08006", False)],
)
def test_only_errors_of_contents_concern_some_of_the_orders(code: str, expected: bool) -> None:
    assert concerns_orders(StorageError("x", code=code)) is expected
