"""Samples of a process, and the minutes that they are summed up in."""

import os
import socket
import time
from pathlib import Path

import pytest

from load.soak.measurements import HEADER, MIB, Minute, MinuteRecorder, take_sample
from load.system.machine import PROC, ProcessGone
from tests.load.soak.samples import SAMPLE


def test_a_sample_has_files_sockets_and_sizes(tmp_path: Path) -> None:
    database = tmp_path / "orders.db"
    own = PROC / str(os.getpid())
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
    with pytest.raises(ProcessGone):
        take_sample(tmp_path / "1", tmp_path / "orders.db")


def _finish(recorder: MinuteRecorder) -> Minute:
    return recorder.finish("7", seconds=60.0, orders=61_000, new=60_000, backlog=2, late_ns=[500_000], cpu_s=30.0)


def test_a_minute_has_the_highest_of_its_samples_and_the_median_of_its_files() -> None:
    recorder = MinuteRecorder()
    for files, memory_mib in ((18, 50.0), (19, 55.0), (18, 52.0)):
        recorder.samples.append(SAMPLE._replace(files=files, memory_mib=memory_mib))
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
