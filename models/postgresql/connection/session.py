"""The settings of a connection, and which settings of a server are refused. Runs on the thread of the connection.

Settings: https://www.postgresql.org/docs/current/runtime-config.html
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict

from models.database.address import PostgresqlUrl
from models.errors import DatabaseRefusedError

OLDEST_VERSION = 15
"""The oldest supported major version of PostgreSQL."""
IDLE_IN_TRANSACTION_S = 3
"""PostgreSQL ends a transaction if no statement arrives for this number of seconds. The number must be smaller than
`LEASE_S`, because other servers wait for the locks of the transaction."""
APPLICATION = "orders"
"""The name by which PostgreSQL knows the connections of servers."""
LOCK_S = 2
"""How many seconds a statement waits for a lock. This must be shorter than the time in which PostgreSQL must answer."""

_CONNECTION = {
    "application_name": APPLICATION,
    "client_encoding": "utf8",
    "connect_timeout": "3",
    # A connection to a standby, or to a primary that has become a standby, is useless.
    "target_session_attrs": "read-write",
    # Detects within a few seconds that the other end does not exist any more.
    "tcp_user_timeout": "3000",
    "keepalives_idle": "3",
    "keepalives_interval": "1",
    "keepalives_count": "3",
}
"""The parameters of a new connection, unless its URL sets them:
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""

# Every statement reads few rows, which an index finds. The statistics of a small or a changing table such as `work` can
# make PostgreSQL read the whole table instead, so all plans that do this are off. A plan that depends on the parameters
# would be no better, so each statement is planned once.
_SESSION = f"""
SET default_transaction_isolation = 'read committed';
SET standard_conforming_strings = on;
SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s';
SET client_connection_check_interval = '1s';
SET lock_timeout = '{LOCK_S}s';
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET plan_cache_mode = 'force_generic_plan'"""

_CHECKS = """
SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), current_setting('fsync'),
    current_setting('synchronous_commit')"""


_Settings = tuple[int, str, str, str]


def connection_parameters(url: PostgresqlUrl) -> dict[str, Any]:
    """The parameters of `psycopg.connect` that are added to the parameters in the URL.

    Raises DatabaseRefusedError if the URL is invalid. The error does not contain the URL, which can contain a password.
    """
    given: Mapping[str, Any] | None = None
    with suppress(psycopg.ProgrammingError):
        given = conninfo_to_dict(url.url)
    # libpq would look for a service with the name of the port.
    if given is None or re.search(r"[^\d,]", str(given.get("port", ""))):
        raise DatabaseRefusedError(
            f"{url}: the URL is invalid: postgresql://USER@HOST:PORT/NAME is expected, and special "
            "characters in a part must be percent-encoded"
        )
    return {name: value for name, value in _CONNECTION.items() if name not in given}


def configure(connection: psycopg.Connection[Any]) -> None:
    """Sets the settings of a new connection."""
    connection.execute(_SESSION)


def check_server(connection: psycopg.Connection[Any], name: str) -> None:
    """Raises DatabaseRefusedError if the server is too old, or loses commits in a crash. `name` is the database."""
    version, encoding, fsync, synchronous_commit = cast(_Settings, connection.execute(_CHECKS).fetchone())
    if version < OLDEST_VERSION * 10_000:
        raise DatabaseRefusedError(
            f"{name}: PostgreSQL {OLDEST_VERSION} or newer is needed, this is {version // 10_000}"
        )
    if encoding != "UTF8":
        raise DatabaseRefusedError(f"{name}: the encoding of the database must be UTF8, not {encoding}")
    if fsync == "off":
        raise DatabaseRefusedError(f"{name}: fsync is off: a crash would lose orders and damage the database")
    if synchronous_commit == "off":
        raise DatabaseRefusedError(f"{name}: synchronous_commit is off: a crash would lose orders that got a 202")
