"""How long syncs of another file take, with a disk that the test slows down."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from load.soak import measurements
from load.soak.measurements import BLOCK, DiskFailed, measure_syncs
from tests.load.steps import meanwhile

STEP_NS = 1_000_000


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "SYNC_EVERY_NS", STEP_NS)  # shorter, to be fast


def _measure(file: Path, count: int, clock_ns: Callable[[], int]) -> list[int]:
    """Return the first `count` times that are noted."""
    noted_ns: list[int] = []
    ended = threading.Event()

    def note(sync_ns: int) -> None:
        noted_ns.append(sync_ns)
        if len(noted_ns) == count:
            ended.set()

    measure_syncs(file, note=note, ended=ended, clock_ns=clock_ns)
    return noted_ns[:count]


def test_syncs_that_are_due_during_a_stall_count_with_the_rest_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns, takes_ns = 0, iter([40 * STEP_NS + 5, 3])

    def stall(_: int) -> None:
        nonlocal now_ns
        now_ns += next(takes_ns, 0)

    monkeypatch.setattr(os, "fdatasync", stall)  # a disk does not stall on request
    noted_ns = _measure(tmp_path / "disk", 42, lambda: now_ns)
    assert noted_ns == [*(waited * STEP_NS + 5 for waited in range(40, -1, -1)), 3]


def test_each_sync_writes_the_same_block(tmp_path: Path) -> None:
    noted_ns = _measure(tmp_path / "disk", 3, time.perf_counter_ns)
    assert min(noted_ns) > 0
    assert (tmp_path / "disk").read_bytes() == BLOCK


def test_a_sync_that_runs_at_the_end_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, has_begun, may_end = threading.Event(), threading.Event(), threading.Event()
    completed: list[bool] = []

    def hang(descriptor: int) -> None:
        has_begun.set()
        may_end.wait()
        os.fstat(descriptor)
        completed.append(True)

    monkeypatch.setattr(os, "fdatasync", hang)  # a disk does not stall on request
    with meanwhile(lambda: measure_syncs(tmp_path / "disk", note=lambda _: None, ended=ended, clock_ns=lambda: 0)):
        assert has_begun.wait(10)
        ended.set()
        assert completed == []
        may_end.set()
    assert completed == [True]


def test_a_file_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match=r"/nowhere/disk can't be synced: no such file or directory$"):
        _measure(tmp_path / "nowhere" / "disk", 1, lambda: 0)
