"""Splits a stream into lines. Used by one task at a time."""

from models.parsing.order_body import MAX_ORDER_BYTES


class Lines:
    """Splits a text that arrives in parts into lines, numbered from 0. Omits blank lines, but counts them.

    Buffers at most `MAX_ORDER_BYTES` + 1 bytes of a line, enough to detect that it is too long. A line that is too
    long is never treated as blank.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._count = 0

    def add(self, part: bytes) -> list[tuple[int, bytes]]:
        """The numbers and texts of the lines that end in this part."""
        *whole, rest = (self._rest + part).split(b"\n")
        self._rest = rest[: MAX_ORDER_BYTES + 1]
        lines = [
            (number, line)
            for number, line in enumerate(whole, self._count)
            if (line and not line.isspace()) or len(line) > MAX_ORDER_BYTES
        ]
        self._count += len(whole)
        return lines

    def end(self) -> list[tuple[int, bytes]]:
        """The number and text of the last line, if it has no line feed."""
        return self.add(b"\n")
