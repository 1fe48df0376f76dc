"""The README's pictures, and the command that makes them anew."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.camera import FOLDER, LONG, NARROW, WIDE
from tests.process import ROOT, need

SIZES = {
    "dashboard-light.png": WIDE,
    "dashboard-dark.png": WIDE,
    "dashboard-phone.png": NARROW,
    "report-light.png": LONG,
    "report-dark.png": LONG,
}
PNG_HEAD = struct.Struct(">8s4x4sII")
TIMEOUT_S = 120


def size_of(picture: Path) -> dict[str, int]:
    """Width and height, as the file's head has them (https://www.w3.org/TR/png/#11IHDR)."""
    magic, kind, width, height = PNG_HEAD.unpack_from(picture.read_bytes())
    assert (magic, kind) == (b"\x89PNG\r\n\x1a\n", b"IHDR")
    return {"width": width, "height": height}


def test_the_readme_shows_all_pictures_and_no_other() -> None:
    shown = re.findall(r'(?:src|srcset)="([^"]+)"', (ROOT / "README.md").read_text())
    assert sorted(shown) == sorted(f"tests/pictures/{name}" for name in SIZES)
    assert {path.name: size_of(path) for path in FOLDER.iterdir()} == SIZES


@pytest.mark.slow
def test_the_command_makes_them_anew(tmp_path: Path) -> None:
    need("chromium")
    command = [sys.executable, "-m", "tests.camera", "--seconds", "3", "--folder", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, timeout=TIMEOUT_S, check=True)
    assert {path.name: size_of(path) for path in tmp_path.iterdir()} == SIZES
