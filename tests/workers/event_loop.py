"""Waits for iterations of the event loop."""

import asyncio


async def next_loop_iteration() -> None:
    """Returns after all callbacks that are ready now have run."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon(done.set_result, None)
    await done
