"""Opens new databases quickly."""

import functools
import tempfile
from pathlib import Path

from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.opening import open_database


def open_new_database(path: Path) -> RetryingSqliteDatabase:
    """Opens the database in the file, and creates the file if it does not exist. Does not wait for locks.

    A new file is a copy of an empty database, which takes a fifth of the time of creating one.
    """
    if not path.exists():
        path.write_bytes(_new_file())
    return open_database(path, deadline_s=0)


@functools.cache
def _new_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.db"
        open_database(path)
        return path.read_bytes()
