"""Reading files again: a file that can't be used must not affect the other files."""

import logging
from pathlib import Path

import pytest

from handlers.security.api_keys import read_keys
from handlers.security.reloading import KeyFile, reload_all
from handlers.security.request_guard import RequestGuard


def test_a_path_that_cannot_be_looked_up_is_reported_and_other_files_are_reloaded(
    tmp_path: Path, log: list[logging.LogRecord], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "orders")
    file, unusable = tmp_path / "keys", tmp_path / ("x" * 300)
    file.write_text(f"shop read {'0' * 64}\n")
    guard = RequestGuard(keys=read_keys(file), limit=None, clock_ns=lambda: 0)
    reload_all([KeyFile(unusable, guard=guard), KeyFile(file, guard=guard)])
    assert caplog.messages == [
        f"not reloaded: {unusable} can't be read: File name too long",
        f"reloaded: 1 API keys from {file}",
    ]
    log.clear()
