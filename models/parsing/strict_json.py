"""Strict JSON: keeps numbers as text, detects repeated keys, and limits the depth. Pure functions."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from models.errors import FieldError, NotJsonError

MAX_DEPTH = 100
"""Bodies that are nested deeper are rejected."""


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class Object(dict[str, Any]):
    """A JSON object. `repeated` are the keys that it contains more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) < len(pairs):
            self.repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def refuse_constant(name: str) -> None:
    """Raises NotJsonError. A `parse_constant` for `json`, which otherwise accepts NaN and Infinity."""
    raise NotJsonError(f"{name} is not JSON")


def read_json(body: bytes) -> Any:
    """Parses the body to `Object`, list, str, bool, None and `Number`. Raises NotJsonError.

    Does not check the depth unless Python's recursion limit is reached: see `repeated_keys`.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=Object,
            parse_int=Number,
            parse_float=Number,
            parse_constant=refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise NotJsonError(f"not UTF-8: byte {error.start} can't be decoded") from None
    except json.JSONDecodeError as error:
        # Some messages, such as "Invalid control character at", end with the word.
        raise NotJsonError(f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels") from None


def pointer(*path: str | int) -> str:
    """A JSON Pointer in its URI fragment form (RFC 6901 §6)."""
    tokens = (str(token).replace("~", "~0").replace("/", "~1") for token in path)
    return "#" + "".join("/" + quote(token, safe="~!$&'()*+,;=:@", errors="replace") for token in tokens)


def repeated_keys(value: Any) -> Iterator[FieldError]:
    """An error for each repeated key, at any depth. Raises NotJsonError below `MAX_DEPTH`. Does not recurse."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > MAX_DEPTH:
            raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, Object):
            for key in value.repeated:
                yield FieldError(pointer(*path, key), "is given more than once")
            waiting.extend(((*path, key), child) for key, child in value.items() if isinstance(child, (dict, list)))
        elif isinstance(value, list):
            waiting.extend(
                ((*path, index), child) for index, child in enumerate(value) if isinstance(child, (dict, list))
            )


def same_value(one: str | None, other: str | None) -> bool:
    """Whether two JSON texts have equal values. Ignores white space, the order of keys, and 1.0 versus 1.

    None equals only None.
    """
    if one is None or other is None or one == other:
        return one == other
    return bool(_comparable(one) == _comparable(other))


def _comparable(text: str) -> Any:
    return json.loads(text, parse_int=_number_value, parse_float=_number_value)


def _number_value(text: str) -> tuple[str | Decimal]:
    # A tuple, because 1 equals true in Python, but not in JSON.
    number = exact_decimal(text)
    return (text if number is None else number,)


def exact_decimal(number: str) -> Decimal | None:
    """The value of a JSON number; None if Decimal can't hold its exponent."""
    try:
        return Decimal(number)
    except InvalidOperation:
        return None
