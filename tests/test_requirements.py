"""The requirements files pin each package once. `test_imports.py` compares them with the imports."""

import re
from pathlib import Path

from handlers.pages import docs
from models.store import PSYCOPG
from tests.process import ROOT

PINNED = re.compile(r"([a-z0-9-]+)==[\w.]+(?:; .+)?")


def pinned(file: Path) -> set[str]:
    """The packages of a requirements file. Fails unless each has one exact version."""
    lines = [line.partition("  #")[0].strip() for line in file.read_text().splitlines()]
    found = [PINNED.fullmatch(line) for line in lines if line and not line.startswith(("#", "-r "))]
    assert all(found), lines
    return {match[1] for match in found if match}


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
