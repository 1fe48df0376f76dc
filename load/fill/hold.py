"""A processor that never ends: a server that runs with it leaves its orders Pending. Runs on the server's threads."""

import threading


def hold(order: object) -> None:
    """Never return. With `--drain-timeout 0` the server stops without waiting, and the order stays Pending."""
    threading.Event().wait()
