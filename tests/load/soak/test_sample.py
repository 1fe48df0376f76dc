"""What is seen of a process from outside."""

import os
import socket
import time
from pathlib import Path

import pytest

from load.soak.sample import take_sample
from load.system.process_status import PROC, ProcessGone
from tests.load.soak.samples import MIB


def test_a_look_sees_files_sockets_and_sizes(tmp_path: Path) -> None:
    database = tmp_path / "orders.db"
    own = PROC / str(os.getpid())
    before = take_sample(own, database)
    with socket.socket(), database.open("wb") as file:
        file.write(b"x" * 100)
        file.flush()
        seen = take_sample(own, database)
    assert (seen.sockets - before.sockets, seen.files - before.files) == (1, 1)
    assert (seen.database_bytes, seen.wal_bytes, before.database_bytes) == (100, 0, 0)
    assert seen.peak_bytes >= seen.memory_bytes > MIB
    assert seen.threads >= 1
    assert 0 < before.cpu_s <= seen.cpu_s <= time.process_time() + 0.02


def test_a_process_that_is_not_there_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ProcessGone):
        take_sample(tmp_path / "1", tmp_path / "orders.db")
