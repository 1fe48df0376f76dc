"""Tests samples of a process, the summary of each minute, and the measured durations of syncs."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from load.cli.errors import CommandError
from load.soak import disk
from load.soak.disk import BLOCK, measure_syncs
from load.soak.minute import HEADER, MIB, Minute, MinuteRecorder, take_sample
from load.system.machine import PROCESS_ENDED
from tests.load.soak.samples import SAMPLE
from tests.load.steps import meanwhile
from tests.process import DEADLINE_S

STEP_NS = 1_000_000


def test_a_sample_has_files_sockets_and_sizes(tmp_path: Path) -> None:
    database = tmp_path / "orders.db"
    own = os.getpid()
    before = take_sample(own, database)
    with socket.socket(), database.open("wb") as file:
        file.write(b"x" * MIB)
        file.flush()
        seen = take_sample(own, database)
    assert (seen.sockets - before.sockets, seen.files - before.files) == (1, 1)
    assert (seen.database_mib, seen.wal_mib, before.database_mib) == (1.0, 0.0, 0.0)
    assert seen.peak_mib >= seen.memory_mib > 1
    assert seen.threads >= 1
    assert 0 < before.cpu_s <= seen.cpu_s <= time.process_time() + 0.02


def test_a_process_that_has_ended_is_an_error(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(CommandError, match=PROCESS_ENDED):
        take_sample(ended.pid, tmp_path / "orders.db")


def _finish(recorder: MinuteRecorder) -> Minute:
    return recorder.finish("7", seconds=60.0, orders=61_000, new=60_000, backlog=2, late_ns=[500_000], cpu_s=30.0)


def test_a_minute_has_the_highest_of_its_samples_and_the_median_of_its_files() -> None:
    recorder = MinuteRecorder()
    for files, memory_mib in ((18, 50.0), (19, 55.0), (18, 52.0)):
        recorder.samples.append(msgspec.structs.replace(SAMPLE, files=files, memory_mib=memory_mib))
    recorder.latencies_ns.extend(latency_ms * 1_000_000 for latency_ms in range(1, 101))
    recorder.syncs_ns.extend(latency_ms * 1_000_000 for latency_ms in range(1, 201))
    recorder.errors["why"] += 1
    minute = _finish(recorder)
    assert (minute.files, minute.memory_mib, minute.peak_mib, minute.wal_mib) == (18, 55.0, 60.0, 4.0)
    assert minute.cpu_share == 0.5
    assert (minute.p50_ms, minute.p99_ms, minute.late_p99_ms, minute.disk_p99_ms) == (50.0, 99.0, 0.5, 198.0)
    assert (minute.orders, minute.orders_per_second, minute.backlog, minute.errors) == (61_000, 1_000.0, 2, 1)
    assert len(minute.line) == len(HEADER)


def test_a_minute_without_an_answer_has_no_latency() -> None:
    recorder = MinuteRecorder()
    recorder.samples.append(SAMPLE)
    assert _finish(recorder).p99_ms is None
    assert " - " in _finish(recorder).line


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SYNC_EVERY_NS", STEP_NS)  # makes the test fast


def _measure(file: Path, count: int, clock_ns: Callable[[], int]) -> list[int]:
    """Measure `count` syncs of a file, and return how long each took, in nanoseconds."""
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
        assert has_begun.wait(DEADLINE_S)
        ended.set()
        assert completed == []
        may_end.set()
    assert completed == [True]


def test_a_file_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"/nowhere/disk can't be synced: no such file or directory$"):
        _measure(tmp_path / "nowhere" / "disk", 1, lambda: 0)
