"""A program with a missing package prints one line that names the package, and exits with status 1."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from handlers.pages.docs import AssetsMissingError, package_folder
from tests.cases import cases
from tests.process import HANGS_AFTER_S, ROOT

COMMANDS = ("load", "load.bench", "load.chaos", "load.soak", "load.fill")
PROGRAMS = [("server.py", ["server.py"]), *((f"python -m {command}", ["-m", command]) for command in COMMANDS)]
IMPORTED_BY_SERVER = ("mimeparse", "msgspec", "peewee", "prometheus_client", "tornado")
WITH_WEBHOOK = ["--processor", "webhook", "--webhook-url", "http://127.0.0.1:9/", "--webhook-secret", "c2VjcmV0"]
MISSING = r'{}: the package "[\w.]+" is not installed: run pip install -r requirements\.txt\n'


@pytest.mark.slow
@cases(("name", "program"), PROGRAMS)
def test_a_program_without_its_packages_says_which_is_missing(name: str, program: list[str]) -> None:
    # With -S, Python does not import `site` and finds no installed packages.
    command = [sys.executable, "-S", *program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(MISSING.format(re.escape(name)), done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "flags"),
    [
        *((module, []) for module in IMPORTED_BY_SERVER),
        ("pycurl", WITH_WEBHOOK),
    ],
)
def test_a_server_without_one_of_its_packages_says_which_is_missing(
    module: str, flags: list[str], tmp_path: Path
) -> None:
    # Python finds this module before the package of the same name.
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})")
    command = [sys.executable, "server.py", "--port", "0", "--database", str(tmp_path / "orders.db"), *flags]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANGS_AFTER_S, check=False
    )
    expected = f'server.py: the package "{module}" is not installed: run pip install -r requirements.txt\n'
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)


def test_missing_files_of_a_package_raise_an_error() -> None:
    with pytest.raises(AssetsMissingError, match='the package "no-such-package" is not installed'):
        package_folder("no_such_package", "no-such-package")
