"""Owns the running of one thing amid others, until the first failure of any; on the event loop's thread."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


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
