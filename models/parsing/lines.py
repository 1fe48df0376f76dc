"""Splits a stream into lines. Used by one task at a time."""

from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.strict_json import BYTE_ORDER_MARK


class Lines:
    """Splits a text into lines, numbered from 0. The text arrives in parts. Omits blank lines, but counts them.

    Skips one byte-order mark at the beginning of the text. Buffers at most `MAX_ORDER_BYTES` + 1 bytes of a line, which
    is enough to detect that the line is too long. A line that is too long is never treated as blank.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._count = 0
        self._is_at_beginning = True

    def add(self, part: bytes) -> list[tuple[int, bytes]]:
        """The numbers and texts of the lines that end in this part."""
        text = self._rest + part
        if self._is_at_beginning:
            if BYTE_ORDER_MARK.startswith(text):
                # The text is possibly the first part of a byte-order mark.
                self._rest = text
                return []
            self._is_at_beginning = False
            text = text.removeprefix(BYTE_ORDER_MARK)
        *whole, rest = text.split(b"\n")
        self._rest = rest[: MAX_ORDER_BYTES + 1]
        lines = [
            (number, line)
            for number, line in enumerate(whole, self._count)
            if (line and not line.isspace()) or len(line) > MAX_ORDER_BYTES
        ]
        self._count += len(whole)
        return lines

    def end(self) -> list[tuple[int, bytes]]:
        """The number and text of the last line, if it does not end with a line feed; else an empty list."""
        return self.add(b"\n")
