"""Checks that a file is a database of this program. Runs on the main thread."""

from pathlib import Path

from models.errors import DatabaseRefusedError
from models.sqlite.database import LOCK_DEADLINE_S, RetryingSqliteDatabase
from models.sqlite.files.moved import MOVED_ID, MOVED_TO
from models.sqlite.schema.migrations import SCHEMA_VERSION
from models.sqlite.schema.tables import APPLICATION_ID


def check_owner(
    path: Path, *, deadline_s: float = LOCK_DEADLINE_S, accepts_moved: bool = False, accepts_empty: bool = True
) -> None:
    """Rejects a database of another program or of a newer version, and a file that was moved to another database.

    Uses a connection that can't write. A database without content has no owner. Raises DatabaseRefusedError, and
    peewee.DatabaseError if the file can't be read.
    """
    real_path = path.resolve()
    database = RetryingSqliteDatabase(read_only_uri(real_path), deadline_s=deadline_s, uri=True)
    with database.connection_context():
        version, owner = database.user_version, database.application_id
        if owner == MOVED_ID:
            if not accepts_moved:
                [target] = database.execute_sql(MOVED_TO).fetchone()
                raise DatabaseRefusedError(
                    f"the orders of {path} were moved: start the server with --database {target}"
                    " (models/README.md says how to use the file again)"
                )
        elif owner != APPLICATION_ID and (
            owner
            or version
            or not accepts_empty
            or database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()[0]
        ):
            raise DatabaseRefusedError(f"{path} is another program's database")
        if version > SCHEMA_VERSION:
            raise DatabaseRefusedError(
                f"{path} has schema version {version}, this program knows up to {SCHEMA_VERSION}: use a newer program"
            )


def read_only_uri(path: Path) -> str:
    """The URI of a connection that can't write. If the file has no WAL, nobody may write while it is open.

    Reading a database in WAL mode creates files beside it. If there is no WAL, `immutable` prevents that.
    """
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    return f"{path.absolute().as_uri()}?{mode}"
