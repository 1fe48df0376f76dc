"""Runs a server that writes the SQL statements of all its connections to a file.

    python -m load.bench.recorded_server FILE PROGRAM [ARGUMENTS]

Each line of FILE is a JSON array: a number, the statement, and its parameters. For SQLite, the number is that of the
connection. Usable on any thread.
"""

import runpy
import sqlite3
import sys
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, Self, cast

import msgspec

PIPELINE = "models.postgresql.connection.pipeline"
"""The module of the server whose class sends statements to PostgreSQL without a cursor of psycopg."""

_numbers = count(1)


class RecordingCursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = ()) -> Self:
        connection = cast(RecordingConnection, self.connection)
        connection.file.write(msgspec.json.encode((connection.number, sql, parameters or ())) + b"\n")
        return super().execute(sql, parameters or ())


class RecordingConnection(sqlite3.Connection):
    """Writes each statement to `file` before SQLite executes the statement."""

    file: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.number = next(_numbers)

    def cursor(self, factory: Any = RecordingCursor) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        return cast(sqlite3.Cursor, self.cursor().execute(sql, parameters))


def record_postgresql(file: Any) -> None:
    """Write each statement to `file` before it is sent to PostgreSQL: by psycopg, or by the server's own pipeline."""
    import psycopg  # Imported only here, because it is not needed for SQLite.

    connect = vars(psycopg.Connection)["connect"].__func__

    @cache
    def record_pipeline() -> None:
        record_class(sys.modules[PIPELINE].StatementPipeline, file)

    def connect_and_record(connection_class: Any, *arguments: Any, **options: Any) -> Any:
        record_pipeline()  # The server has imported the module by now.
        return connect(connection_class, *arguments, **options)

    record_class(vars(psycopg)["Cursor"], file)
    vars(psycopg)["Connection"].connect = classmethod(connect_and_record)


def record_class(executing: Any, file: Any) -> None:
    """Write each statement that the class executes to `file`."""
    execute = executing.execute

    def record_and_execute(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else str(query)
        file.write(msgspec.json.encode((id(self), text, params or ())) + b"\n")
        return execute(self, query, params, **options)

    executing.execute = record_and_execute


def main() -> None:
    # Unbuffered, so that the file is complete while the server runs.
    with Path(sys.argv[1]).open("ab", buffering=0) as file:
        RecordingConnection.file = file
        vars(sqlite3)["connect"] = partial(sqlite3.connect, factory=RecordingConnection)
        if any(argument.startswith("postgresql:") for argument in sys.argv):
            record_postgresql(file)
        del sys.argv[:2]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
