"""`requirements.txt` pins the packages that the server and the load generator use, and no others."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from handlers.pages import docs
from models.store import PSYCOPG
from tests.process import ROOT
from tests.test_imports import imports_of

PROGRAMS = ("server.py", "handlers", "workers", "models", "load")
MODULES = {"prometheus-client": "prometheus_client", "python-mimeparse": "mimeparse"}
"""The modules whose names differ from the names of their packages."""
WITH_PEEWEE = {"playhouse"}
OPTIONAL = {"psycopg"}
"""Packages that only a server on PostgreSQL needs. `models/store.py` names the version."""
ASSETS_ONLY = {"flask-swagger-ui"}
"""Packages that are not imported: `handlers/pages/docs.py` serves their files."""
PINNED = re.compile(r"([a-z0-9-]+)==[\w.]+(?:; .+)?")


def pinned(file: Path) -> set[str]:
    """The packages of a requirements file. Fails unless each has one exact version."""
    lines = [line.partition("  #")[0].strip() for line in file.read_text().splitlines()]
    found = [PINNED.fullmatch(line) for line in lines if line and not line.startswith(("#", "-r "))]
    assert all(found), lines
    return {match[1] for match in found if match}


def imported() -> Iterator[str]:
    """The top-level modules that the programs import, anywhere in their files."""
    for program in PROGRAMS:
        path = ROOT / program
        for file in [path] if path.is_file() else path.rglob("*.py"):
            yield from (name.partition(".")[0] for _, name in imports_of(file) if not name.startswith("."))


def test_the_programs_import_every_package_of_requirements_and_no_other() -> None:
    ours = {Path(program).stem for program in PROGRAMS}
    modules = {MODULES.get(package, package) for package in pinned(ROOT / "requirements.txt") - ASSETS_ONLY}
    assert set(imported()) - ours - WITH_PEEWEE - OPTIONAL - sys.stdlib_module_names == modules


def test_the_tests_use_the_version_of_psycopg_that_users_are_told_to_install() -> None:
    lines = (ROOT / "tests" / "requirements.txt").read_text().splitlines()
    version = PSYCOPG.partition("==")[2]
    assert {f"psycopg=={version}", f"psycopg-binary=={version}"} <= set(lines)


def test_all_assets_of_the_docs_page_are_installed() -> None:
    assert all((docs.assets_folder() / name).is_file() for name in docs.ASSETS)


def test_the_requirements_of_the_tests_include_those_of_the_programs() -> None:
    file = ROOT / "tests" / "requirements.txt"
    assert file.read_text().splitlines()[0] == "-r ../requirements.txt"
    assert pinned(file).isdisjoint(pinned(ROOT / "requirements.txt"))
