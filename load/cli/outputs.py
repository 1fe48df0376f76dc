"""What commands that are no `Command` yet write their results with; on the main thread."""

from pathlib import Path

import msgspec

from load.cli.command import check_outputs as check_files
from load.cli.errors import ExitStatus, Unwritable

GOOD, BAD, MISUSED, INTERRUPTED = 0, 1, 2, 130
__all__ = ["BAD", "GOOD", "INTERRUPTED", "MISUSED", "ExitStatus", "Unwritable", "check_files", "write_json"]


def write_json(path: Path, result: object) -> None:
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    except OSError as error:
        raise Unwritable.from_os_error(path, error) from None
