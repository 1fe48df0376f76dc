"""Many orders in one text: each is good or bad for itself. Pure functions: they belong to no thread."""

from collections.abc import Sequence

import msgspec

from models.errors import FieldError, InvalidOrderError, NotJsonError
from models.order import NewOrder
from models.strict_json import MAX_DEPTH, pointer, read_json
from models.validation import parse_order, parse_plain_orders

MAX_ORDERS = 1_000
"""How many orders an array may hold."""
MAX_ORDER_BYTES = 64 * 1024

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


def split_array(body: bytes) -> list[bytes]:
    """The texts of the elements of a JSON array, which are not looked into.

    Raises NotJsonError, or InvalidOrderError where it is no array of at most `MAX_ORDERS` elements.
    """
    try:
        elements = _ELEMENTS.decode(body)
    except msgspec.ValidationError:
        read_json(body)  # what isn't JSON is told so
        raise InvalidOrderError([FieldError(pointer(), "must be an array of orders")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJsonError(str(error)) from None
    except RecursionError:
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels") from None
    if len(elements) > MAX_ORDERS:
        raise InvalidOrderError([FieldError(pointer(), f"must hold at most {MAX_ORDERS} orders")])
    return [bytes(element) for element in elements]


def parse_orders(texts: Sequence[bytes]) -> list[NewOrder | NotJsonError | InvalidOrderError]:
    """For each text the order that it is, or what is wrong with it."""
    if max(map(len, texts), default=0) <= MAX_ORDER_BYTES and (orders := parse_plain_orders(texts)):
        return [*orders]
    return [_parse(text) for text in texts]


def _parse(text: bytes) -> NewOrder | NotJsonError | InvalidOrderError:
    if len(text) > MAX_ORDER_BYTES:
        return InvalidOrderError([FieldError(pointer(), f"must be at most {MAX_ORDER_BYTES} bytes of JSON")])
    try:
        return parse_order(text)
    except (NotJsonError, InvalidOrderError) as error:
        # Without what it passed through, which would keep the text of every order alive.
        return error.with_traceback(None)


class Lines:
    """The lines of a text that comes in parts, numbered from 0; blank ones are left out, but counted.

    Of a line longer than `MAX_ORDER_BYTES`, which is never taken for blank, no more is kept than shows that it is.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._count = 0

    def add(self, part: bytes) -> list[tuple[int, bytes]]:
        """The lines that this part ends."""
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
        """The last line, where nothing ended it."""
        return self.add(b"\n")
