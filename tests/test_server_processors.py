"""What `--processor` takes, and what it refuses at the start."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import DEADLINE_S, ROOT, run_server


@pytest.mark.parametrize(
    ("path", "text", "saying"),
    [
        ("nowhere:process", "", "No module named 'nowhere'"),
        ("shop:process", "raise RuntimeError('no flour\\nno sugar')", "RuntimeError: no flour no sugar"),
        ("shop:process", "async def process(order): ...", "coroutine"),
    ],
)
def test_a_function_that_can_not_be_had_is_one_line_and_no_file(
    tmp_path: Path, path: str, text: str, saying: str
) -> None:
    (tmp_path / "shop.py").write_text(text)
    database = tmp_path / "data" / "orders.db"
    database.parent.mkdir()
    status, stdout, stderr = run_server(
        "--port",
        "0",
        "--database",
        str(database),
        "--processor",
        path,
        environment={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (status, stdout) == (1, "")
    assert re.fullmatch(r"server\.py: can't import [^\n]+\n|server\.py: shop:process [^\n]+\n", stderr), stderr
    assert saying in stderr
    assert list(database.parent.iterdir()) == []


def test_a_function_is_found_in_the_folder_that_the_server_is_started_in(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("raise RuntimeError('found')")
    done = subprocess.run(
        [sys.executable, ROOT / "server.py", "--port", "0", "--processor", "shop:process"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "server.py: can't import shop:process: RuntimeError: found\n"
    assert not (tmp_path / "orders.db").exists()
