"""Splits a stream into blocks of whole lines. Used by one task at a time."""

from collections.abc import Iterator
from typing import NamedTuple

from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.strict_json import BYTE_ORDER_MARK


class LineBlock(NamedTuple):
    """Whole lines of a stream: the number of the first line, and the lines without the last line feed."""

    first: int
    text: bytes

    @property
    def end(self) -> int:
        """The number of the line that follows the block."""
        return self.first + self.text.count(b"\n") + 1

    def lines(self) -> list[tuple[int, bytes]]:
        """The numbers and texts of the lines, without blank lines. A line that is too long is never blank."""
        return [
            (number, line)
            for number, line in enumerate(self.text.split(b"\n"), self.first)
            if (line and not line.isspace()) or len(line) > MAX_ORDER_BYTES
        ]

    def parts(self, size: int) -> Iterator["LineBlock"]:
        """Splits the block into shorter blocks. Each but the last one has at least `size` bytes."""
        begin, first = 0, self.first
        while (end := self.text.find(b"\n", begin + size)) >= 0:
            part = LineBlock(first, self.text[begin:end])
            yield part
            begin, first = end + 1, part.end
        yield LineBlock(first, self.text[begin:])


class Lines:
    """Splits a text into lines, numbered from 0. The text arrives in parts.

    Skips one byte-order mark at the beginning of the text. Buffers at most `MAX_ORDER_BYTES` + 1 bytes of a line, which
    is enough to detect that the line is too long.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._count = 0
        self._is_at_beginning = True

    def add(self, part: bytes) -> LineBlock | None:
        """The lines that end in this part; None if no line ends here."""
        text = self._rest + part
        if self._is_at_beginning:
            if BYTE_ORDER_MARK.startswith(text):
                # The text is possibly the first part of a byte-order mark.
                self._rest = text
                return None
            self._is_at_beginning = False
            text = text.removeprefix(BYTE_ORDER_MARK)
        end = text.rfind(b"\n")
        self._rest = text[end + 1 : end + 2 + MAX_ORDER_BYTES]
        if end < 0:
            return None
        block = LineBlock(self._count, text[:end])
        self._count = block.end
        return block

    def end(self) -> LineBlock | None:
        """The last line, if it does not end with a line feed; else a blank line or None."""
        return self.add(b"\n")
