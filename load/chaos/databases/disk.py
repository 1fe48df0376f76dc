"""Makes file systems that a run can fill or break, with programs of the system. The functions block."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from load.cli.command import print_line

IMAGE_BYTES = 8 << 30  # Sparse: it needs only the space of the orders.
BLOCK_BYTES = 4096
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


class Disk:
    """A new folder `folder`, if possible on a file system of its own. `missing` says why it is not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing = ""

    def create(self) -> None:
        self.folder.mkdir()
        image = self.folder.with_name(f"{self.folder.name}.image")
        try:
            if os.geteuid() != 0:
                raise NotPossible("only root can mount a file system")
            create_image(image, IMAGE_BYTES)
            run_program("mount", "-o", "loop,nosuid,nodev", str(image), str(self.folder))
        except NotPossible as reason:
            self.missing = str(reason)

    def close(self) -> None:
        """Unmount the file system; can be called twice. Programs can still use their open files."""
        try:
            if self.folder.is_mount():
                run_program("umount", "--lazy", str(self.folder))
        except NotPossible as reason:
            print_line(f"{self.folder} is still mounted: {reason}")

    @contextmanager
    def full(self) -> Iterator[None]:
        """While the block runs, the file system has no space. Raises NotPossible if there is none."""
        if self.missing:
            raise NotPossible(self.missing)
        ballast, size = self.folder / "ballast", IMAGE_BYTES
        try:
            with ballast.open("wb") as file:
                while size >= BLOCK_BYTES:
                    try:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
                    except OSError:
                        size //= 2
            yield
        finally:
            ballast.unlink()
