"""A processor that does nothing, so that only the cost of the server is measured. Runs on the server's threads."""


def do_nothing(order: object) -> None:
    """Return at once, which completes the order."""
