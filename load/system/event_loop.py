"""Runs the coroutine of a command on an event loop, and cancels it after Ctrl-C.

Runs on the main thread. On another thread, signals do not cancel the coroutine.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from load.cli.program import END_SIGNALS

Result = TypeVar("Result")
Handler = Callable[[int, FrameType | None], None]
MOST_ON_LOOP = 2  # The third Ctrl-C raises KeyboardInterrupt at once, even in uvloop, which can abort the process.


def run_to_end(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a new loop. Ctrl-C cancels the coroutine; a second Ctrl-C stops the loop at once.

    If SIGINT is ignored, as in a background process, END_SIGNALS take the place of Ctrl-C. Raises KeyboardInterrupt if
    the coroutine did not catch its cancellation, after a second Ctrl-C, or if Ctrl-C came after the end of the
    coroutine.
    """
    runner = asyncio.Runner(loop_factory=_loop_factory())
    loop = runner.get_loop()
    task = loop.create_task(main)
    given_up = loop.create_future()
    interrupts: list[bool] = []  # for each Ctrl-C, whether the coroutine had ended

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(task.done())
        if len(interrupts) > MOST_ON_LOOP or loop.is_closed():
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(task.cancel if len(interrupts) == 1 else partial(given_up.set_result, None))

    with _handling(interrupt), runner:
        loop.run_until_complete(asyncio.wait([task, given_up], return_when=asyncio.FIRST_COMPLETED))
        if given_up.done() or (interrupts and task.cancelled()):
            raise KeyboardInterrupt
        result = task.result()
    if any(interrupts):
        raise KeyboardInterrupt
    return result


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    """Call `handler` for Ctrl-C during the block, or for END_SIGNALS if Ctrl-C is ignored. Only for the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # The handlers of END_SIGNALS call the handler of SIGINT.
        after: dict[int, Handler] = {signal.SIGINT: signal.default_int_handler}
        signal.signal(signal.SIGINT, handler)
    else:
        after = {number: found for number in END_SIGNALS if callable(found := signal.getsignal(number))}

        def end(number: int, frame: FrameType | None) -> None:
            with suppress(KeyboardInterrupt):
                after[number](number, frame)
            handler(number, frame)

        for number in after:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, following in after.items():
            signal.signal(number, following)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
