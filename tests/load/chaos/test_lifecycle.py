"""Servers that end, or don't start, though nobody did them harm."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from load.chaos.lifecycle import Lifecycle, ServerLost
from load.chaos.shop import Shop as ChaosShop

LISTENING = "print('listening on http://127.0.0.1:9', flush=True)"


class NotingShop(ChaosShop):
    """Lets somebody pass `noted` for each thing that is wrong."""

    noted: asyncio.Semaphore

    def note_wrong(self, what: str, order_id: int = 0) -> None:
        super().note_wrong(what, order_id)
        self.noted.release()


@contextmanager
def shop_of(code: str, folder: Path) -> Iterator[NotingShop]:
    """A shop whose server is this program."""
    shop = NotingShop(name="record", command=["-c", code], folder=folder / "record", seed=1, clock_s=time.monotonic)
    shop.noted = asyncio.Semaphore(0)
    try:
        yield shop
    finally:
        shop.close()


def test_a_server_that_ends_by_itself_is_noted_and_started_again(tmp_path: Path) -> None:
    async def run(shop: NotingShop) -> None:
        lifecycle = Lifecycle(clock_s=time.monotonic)
        await lifecycle.start(shop)
        watcher = asyncio.create_task(lifecycle.watch(shop, every_s=0.01))
        async with asyncio.timeout(10):
            await shop.noted.acquire()
            await shop.noted.acquire()
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)

    with shop_of(f"{LISTENING}; raise SystemExit(3)", tmp_path) as shop:
        asyncio.run(run(shop))
        assert {what for what, _ in shop.wrong} == {"the server ended by itself with status 3"}


@pytest.mark.parametrize("is_obstructed", [False, True])
def test_a_start_that_fails_is_wrong_unless_something_was_in_its_way(
    is_obstructed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.lifecycle.AGAIN_AFTER_S", 0.0)
    monkeypatch.setattr("load.chaos.lifecycle.STARTS", 2)

    async def run(shop: ChaosShop) -> None:
        with pytest.raises(ServerLost):
            await Lifecycle(clock_s=time.monotonic).start(shop)

    with shop_of("raise SystemExit('no')", tmp_path) as shop:
        if is_obstructed:
            with shop.obstructed():
                asyncio.run(run(shop))
        else:
            asyncio.run(run(shop))
        assert [what for what, _ in shop.wrong] == ([] if is_obstructed else ["a start failed: no"] * 2)


@pytest.mark.parametrize(("status", "wrong"), [(0, []), (4, [("exit status 4 after SIGTERM", 0)])])
def test_any_status_but_0_after_sigterm_is_wrong(status: int, wrong: list[tuple[str, int]], tmp_path: Path) -> None:
    code = (
        f"import os, signal; signal.signal(signal.SIGTERM, lambda *_: os._exit({status})); {LISTENING}; signal.pause()"
    )

    async def run(shop: ChaosShop) -> None:
        lifecycle = Lifecycle(clock_s=time.monotonic)
        await lifecycle.start(shop)
        await lifecycle.terminate(shop)

    with shop_of(code, tmp_path) as shop:
        asyncio.run(run(shop))
        assert shop.wrong == wrong


def test_a_process_that_can_not_be_made_is_not_killed_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise BlockingIOError("no more processes")

    async def run(shop: ChaosShop) -> None:
        lifecycle = Lifecycle(clock_s=time.monotonic)
        async with asyncio.timeout(10):
            await lifecycle.kill_while_starting(shop, after_s=0.0)
        with pytest.raises(BlockingIOError, match="no more processes"):
            await lifecycle.start(shop)

    monkeypatch.setattr("load.system.server_process.subprocess.Popen", refuse)
    with shop_of(LISTENING, tmp_path) as shop:
        asyncio.run(run(shop))
        assert shop.wrong == []


@pytest.mark.parametrize("is_obstructed", [False, True])
def test_a_server_that_ends_before_it_is_killed_is_noted_unless_something_was_in_its_way(
    is_obstructed: bool, tmp_path: Path
) -> None:
    with shop_of("raise SystemExit(3)", tmp_path) as shop:

        async def run() -> None:
            await Lifecycle(clock_s=time.monotonic).kill_while_starting(shop, after_s=10.0)

        if is_obstructed:
            with shop.obstructed():
                asyncio.run(run())
        else:
            asyncio.run(run())
        assert [what for what, _ in shop.wrong] == (
            [] if is_obstructed else ["the server ended by itself with status 3 while it started"]
        )
