"""A processor that never returns, for a server that leaves its orders Pending. Runs on the server's threads."""

import threading


def hold(order: object) -> None:
    """Never return. With `--drain-timeout 0`, the server stops without waiting and makes the order Pending again."""
    threading.Event().wait()
