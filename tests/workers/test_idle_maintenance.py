"""When maintenance runs."""

from collections.abc import Sequence

import pytest

from models.errors import StorageUnavailableError
from workers.batcher import Batcher
from workers.call_thread import CallThread
from workers.idle_maintenance import IDLE_S, IdleMaintenance


@pytest.mark.gen_test
async def test_maintenance_runs_each_second_after_some_seconds_without_a_write() -> None:
    runs: list[int] = []

    def fail_at_first(requests: Sequence[None]) -> list[None]:
        runs.append(len(requests))
        if len(runs) == 1:
            raise StorageUnavailableError
        return [None] * len(requests)

    thread = CallThread("maintenance")
    queue: Batcher[None, None] = Batcher(thread, fail_at_first, max_waiting=2)
    maintenance = IdleMaintenance(queue)

    async def runs_after(seconds: int) -> int:
        for _ in range(seconds):
            maintenance.second_passed()
            if runs:
                await queue.submit(None)  # shares a call with that of `maintenance`
        return len(runs)

    assert await runs_after(IDLE_S) == 0
    maintenance.note_write()
    assert await runs_after(IDLE_S) == 0
    maintenance.second_passed()
    with pytest.raises(StorageUnavailableError):
        await queue.submit(None)
    assert runs == [2]
    assert await runs_after(2) == 3
    await queue.close()
    maintenance.second_passed()
    assert len(runs) == 3
    thread.close()
