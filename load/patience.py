"""Owns how long the load generator waits for a server before it says that nothing comes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Waiting times in seconds; every one of them is a limit, none is a delay."""

    answer_s: float = 30.0
    """For the answer to one request, its connecting included."""
    connection_s: float = 5.0
    """For a server that refuses connections to come back, as one does that restarts."""
    processing_s: float = 30.0
    """For accepted orders to be processed, counted anew whenever something moves."""
    poll_s: float = 0.05
    """Between two looks at what is left to be processed."""
