"""Tests the list of the test files that start first."""

from tests.longest_files import LONGEST_FILES
from tests.process import ROOT


def test_every_file_that_starts_first_exists() -> None:
    assert [path for path in LONGEST_FILES if not (ROOT / "tests" / path).is_file()] == []
    assert len(set(LONGEST_FILES)) == len(LONGEST_FILES)
