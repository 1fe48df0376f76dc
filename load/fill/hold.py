"""A processor that keeps what it is given: the server that runs with it leaves its orders Pending; on its threads."""

import threading


def hold(order: object) -> None:
    """Return never. `--drain-timeout 0` gives the order back at a stop, at no cost."""
    threading.Event().wait()
