"""Makes file systems that a run can fill or break, with programs of the system. The functions block."""

import os
import subprocess
from pathlib import Path

SYSTEM_FOLDERS = "/usr/sbin:/sbin"  # Where mkfs is. The PATH of most users does not have them.


class NotPossible(Exception):
    """This machine can't make this fault. The text says why."""


def run_program(*command: str) -> None:
    """Run a program of the system. Raises NotPossible if it fails."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_FOLDERS}"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotPossible(f"{command[0]} is not installed") from None
    if done.returncode:
        raise NotPossible(done.stderr.partition("\n")[0] or f"{command[0]} ended with status {done.returncode}")


def create_image(image: Path, size_bytes: int) -> None:
    """Create a file with an empty ext4 file system. The file is sparse. Raises NotPossible."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    run_program("mkfs.ext4", "-q", "-m", "0", str(image))
