"""How long syncs take beside a soak, with a disk that the test slows down."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from load.soak import disk
from load.soak.disk import BLOCK, DiskFailed, keep_syncing

STEP_NS = 1_000_000


@pytest.fixture(autouse=True)
def soon_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SYNC_EVERY_NS", STEP_NS)


async def _note(file: Path, count: int, clock_ns: Callable[[], int]) -> list[int]:
    """Give what is noted of so many syncs."""
    noted_ns: list[int] = []
    is_enough = asyncio.Event()

    def note(latency_ns: int) -> None:
        noted_ns.append(latency_ns)
        if len(noted_ns) == count:
            is_enough.set()

    syncing = asyncio.create_task(keep_syncing(file, note=note, clock_ns=clock_ns))
    await is_enough.wait()
    syncing.cancel()
    await asyncio.wait([syncing])
    assert syncing.cancelled()
    return noted_ns[:count]


@pytest.mark.gen_test
async def test_syncs_that_were_due_during_a_stall_count_with_the_rest_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns, takes_ns = 0, iter([40 * STEP_NS + 5, 3])

    def stall(_: int) -> None:
        nonlocal now_ns
        now_ns += next(takes_ns, 0)

    monkeypatch.setattr(os, "fdatasync", stall)
    noted_ns = await _note(tmp_path / "disk", 42, lambda: now_ns)
    assert noted_ns == [*(waited * STEP_NS + 5 for waited in range(40, -1, -1)), 3]


@pytest.mark.gen_test
async def test_each_sync_writes_the_same_block(tmp_path: Path) -> None:
    noted_ns = await _note(tmp_path / "disk", 3, time.perf_counter_ns)
    assert min(noted_ns) > 0
    assert (tmp_path / "disk").read_bytes() == BLOCK


@pytest.mark.gen_test
async def test_a_sync_that_goes_on_at_the_end_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, has_begun, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    open_at_its_end: list[bool] = []

    def hang(descriptor: int) -> None:
        loop.call_soon_threadsafe(has_begun.set)
        may_end.wait()
        os.fstat(descriptor)
        open_at_its_end.append(True)

    monkeypatch.setattr(os, "fdatasync", hang)
    syncing = asyncio.create_task(keep_syncing(tmp_path / "disk", note=lambda _: None, clock_ns=lambda: 0))
    await has_begun.wait()
    syncing.cancel()
    await asyncio.sleep(0)
    assert not syncing.done()
    may_end.set()
    await asyncio.wait([syncing])
    assert syncing.cancelled()
    assert open_at_its_end == [True]


@pytest.mark.gen_test
async def test_where_nothing_can_be_written_it_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match=r"/nowhere/disk can't be synced: no such file or directory$"):
        await keep_syncing(tmp_path / "nowhere" / "disk", note=lambda _: None, clock_ns=lambda: 0)
