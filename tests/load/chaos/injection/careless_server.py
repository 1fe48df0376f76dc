"""Runs the server without its check of the WAL, and ends with status 3. Tests start this module as a program."""

import os
import sys

import server
from models.sqlite.files.open_files import OpenFiles


def ignore(files: OpenFiles) -> None:
    pass


if __name__ == "__main__":
    OpenFiles.check_wal = ignore  # type: ignore[method-assign,assignment]  # it ignores damage
    server.main(sys.argv[1:], os.environ)
    sys.exit(3)
