"""Tests a real server against its OpenAPI document, and shows the document in a real browser."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import ROOT, ServerProcess, need

BROWSER_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=8000"),
    # Writes the messages of the page's console to stderr.
    "--enable-logging=stderr",
]
MODULE = """
from workers.processors.outcomes import Rejected

def process(order):
    if order.order_id % 2:
        raise Rejected("odd")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server in which odd orders fail and even ones complete."""
    (tmp_path / "shop.py").write_text(MODULE)
    environment = {"PYTHONPATH": str(tmp_path)}
    flags = ("--processor", "shop:process")
    with ServerProcess(tmp_path / "orders.db", *flags, environment=environment) as server:
        yield server


@pytest.mark.slow
def test_schemathesis_finds_no_difference_from_the_document(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests" / "schemathesis.toml")]
    done = subprocess.run(
        [*command, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    described = server.get("/openapi.json").body["paths"]
    operations = sum(len(item) for item in described.values())
    # Schemathesis leaves out the operation that returns the document.
    assert f"Selected: {operations - 1}/{operations - 1}" in done.stdout
    assert re.findall(r"❌|⚡", done.stdout) == []
    assert re.findall(r".* ERROR .*|Traceback.*", server.log) == []


@pytest.mark.slow
def test_the_document_has_the_version_of_the_server(server: ServerProcess) -> None:
    shown = subprocess.run(
        [sys.executable, "server.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert server.get("/openapi.json").body["info"]["version"] == shown.stdout.split()[-1]


@pytest.mark.slow
def test_a_browser_shows_every_operation(server: ServerProcess, tmp_path: Path) -> None:
    need("chromium")
    page = f"http://127.0.0.1:{server.port}/docs"
    done = subprocess.run(
        ["chromium", *BROWSER_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert re.findall(r".*CONSOLE.*", done.stderr) == []
    shown = re.findall(r'class="opblock opblock-(\w+)".*?data-path="([^"]+)"', done.stdout)
    described = server.get("/openapi.json").body["paths"]
    assert sorted(shown) == sorted((method, path) for path, item in described.items() for method in item)
