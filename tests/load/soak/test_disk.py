"""How long the disk takes beside a soak, with a disk and a clock that the test moves."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from load.soak import disk
from load.soak.disk import BLOCK, DiskFailed, keep_syncing

STEP_MS = 1
MS = 1_000_000


@pytest.fixture(autouse=True)
def soon_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SYNC_EVERY_S", STEP_MS / 1000)


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
async def test_what_was_due_during_a_stall_is_late_by_the_rest_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = 0
    takes_ms = iter([40] + [0] * 39)

    def sync(_: int) -> None:
        nonlocal now_ms
        # Once it has caught up, each is there a step after the one before.
        now_ms += next(takes_ms, STEP_MS)

    monkeypatch.setattr(disk, "_sync", sync)
    noted_ns = await _note(tmp_path / "disk", 42, lambda: now_ms * MS)
    assert noted_ns == [*(late * MS for late in range(39, -1, -1)), 0, 0]


@pytest.mark.gen_test
async def test_each_sync_writes_the_same_block(tmp_path: Path) -> None:
    assert len(await _note(tmp_path / "disk", 3, lambda: 0)) == 3
    assert (tmp_path / "disk").read_bytes() == BLOCK


@pytest.mark.gen_test
async def test_where_nothing_can_be_written_it_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match=r"/nowhere/disk: No such file or directory$"):
        await keep_syncing(tmp_path / "nowhere" / "disk", note=lambda _: None, clock_ns=lambda: 0)
