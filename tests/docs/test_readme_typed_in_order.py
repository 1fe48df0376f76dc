"""Runs every shell block of the pages from top to bottom, as a new user does, in a new copy of the program."""

from pathlib import Path

import pytest

from tests.process import need
from tests.readme import TYPED_IN_ORDER, blocks, postgresql_blocks
from tests.terminals import terminals_in_a_copy

FEW_TESTS = "tests/test_imports.py"


@pytest.mark.slow
def test_every_block_typed_in_order_works_as_shown(tmp_path: Path) -> None:
    need("curl")
    with terminals_in_a_copy(tmp_path / "orders") as terminals:
        others = postgresql_blocks()
        for page in TYPED_IN_ORDER:
            for block in blocks(page):
                if block.language in ("sh", "python") and block not in others:
                    text = block.text.replace("-m pytest\n", f"-m pytest -n 0 {FEW_TESTS}\n")
                    terminals.type(block._replace(text=text))
