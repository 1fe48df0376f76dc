"""Owns how long things run: one amid others, and one to its end; on the event loop's thread."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def run_whole(work: Coroutine[Any, Any, Result]) -> Result:
    """Give what comes of it; if this is cancelled meanwhile, it runs to its end first."""
    running = asyncio.create_task(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise


async def run_amid(
    work: Coroutine[Any, Any, None], others: Iterable[Coroutine[Any, Any, None]], *, all_end: bool = False
) -> None:
    """Run what ends amid others, which then are cancelled unless `all_end`; the first failure of any ends them all."""
    main = asyncio.create_task(work)
    tasks = {main, *map(asyncio.create_task, others)}
    pending = tasks
    try:
        while pending if all_end else main in pending:
            ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
