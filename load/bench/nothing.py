"""A processor that does nothing, for a server whose own cost is measured. Runs on the server's threads."""


def do_nothing(order: object) -> None:
    """Return at once, which completes the order."""
