"""Tests the pictures of the pages, and the command that takes new pictures."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.camera import FOLDER, LONG, NARROW, WIDE
from tests.process import HANGS_AFTER_S, ROOT, need
from tests.readme import pages

SIZES = {
    "dashboard-light.png": WIDE,
    "dashboard-dark.png": WIDE,
    "dashboard-phone.png": NARROW,
    "report-light.png": LONG,
    "report-dark.png": LONG,
}
PNG_HEAD = struct.Struct(">8s4x4sII")


def size_of(picture: Path) -> dict[str, int]:
    """Width and height from the header of the file (https://www.w3.org/TR/png/#11IHDR)."""
    magic, kind, width, height = PNG_HEAD.unpack_from(picture.read_bytes())
    assert (magic, kind) == (b"\x89PNG\r\n\x1a\n", b"IHDR")
    return {"width": width, "height": height}


def test_the_pages_show_every_picture_and_no_other() -> None:
    shown = [link for page in pages() for link in re.findall(r'src(?:set)?="([^"]+)"', page.read_text())]
    assert sorted(Path(link).name for link in shown) == sorted(SIZES)
    assert {path.name: size_of(path) for path in FOLDER.iterdir()} == SIZES


@pytest.mark.slow
def test_the_command_takes_the_pictures_again(tmp_path: Path) -> None:
    need("chromium")
    command = [sys.executable, "-m", "tests.camera", "--seconds", "3", "--folder", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, timeout=HANGS_AFTER_S, check=True)
    assert {path.name: size_of(path) for path in tmp_path.iterdir()} == SIZES
