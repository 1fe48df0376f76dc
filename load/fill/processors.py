"""Processors for servers of benchmarks. The functions run on the server's threads."""

import threading


def do_nothing(order: object) -> None:
    """Complete the order at once, so that only the cost of the server is measured."""


def hold(order: object) -> None:
    """Never return. With `--drain-timeout 0`, the server stops without waiting and makes the order Pending again."""
    threading.Event().wait()
