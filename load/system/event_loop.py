"""Runs the coroutine of a command on an event loop. Runs on the main thread."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_to_end(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a new loop. Ctrl-C cancels the coroutine; a second Ctrl-C stops the loop at once.

    Raises KeyboardInterrupt if the coroutine did not catch its cancellation, after a second Ctrl-C, or if Ctrl-C came
    after the end of the coroutine.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
