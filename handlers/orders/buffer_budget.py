"""Limits how many bytes a group of requests may buffer together. Runs on the event loop."""


class BufferBudget:
    """A budget of `max_bytes` for all buffers together."""

    def __init__(self, max_bytes: int) -> None:
        self._free_bytes = max_bytes

    def reserve(self, count: int) -> bool:
        """Reserves `count` bytes and returns True. If fewer bytes are free, returns False and reserves none."""
        if count > self._free_bytes:
            return False
        self._free_bytes -= count
        return True

    def release(self, count: int) -> None:
        """Gives back bytes that were reserved."""
        self._free_bytes += count
