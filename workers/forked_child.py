"""Resets the state that a forked child process inherits from the server. Runs on the only thread of the child.

A user's function can fork the process of the server.
"""

import concurrent.futures.thread
import signal
from collections.abc import Collection
from typing import Any


def forget_executors() -> None:
    """Forgets the threads of executors, which do not exist in the child.

    If they were not forgotten, Python would join these threads when the child exits. If a worker thread forked the
    child, this would raise an error, because a thread can't join itself.
    """
    # No public function removes a thread from this dictionary.
    threads: Any = concurrent.futures.thread._threads_queues
    threads.clear()


def reset_signals(numbers: Collection[int]) -> None:
    """Restores the default actions of these signals. A signal then ends the child, and does not reach the server."""
    # Python writes each signal to this descriptor, to wake the event loop. The child shares the descriptor with the
    # server. Without this call, a signal to the child would also stop the server.
    signal.set_wakeup_fd(-1)
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
