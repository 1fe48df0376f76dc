"""Strict JSON: keeps numbers exact, detects repeated keys, and limits the depth. Pure functions."""

import json
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from models.errors import FieldError, InvalidOrderError, NotJsonError
from models.parsing.json_pointer import ROOT, Path
from models.parsing.steps import Steps

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_DEPTH = 100
"""The maximum depth of nesting in a body."""
MAX_CONTAINERS = 10_000
"""The maximum number of non-empty arrays and objects in a body. A valid order has fewer, because its metadata has at
most 16 KiB."""

_CONTAINERS_A_STEP = 1_000
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


class Number(str):
    """The text of a JSON number with a fraction, an exponent, or more digits than Python converts to an int."""

    __slots__ = ()


class RepeatingObject(dict[str, Any]):
    """A JSON object with repeated keys. The dict has the last value of each key; `pairs` has all keys and values."""

    __slots__ = ("pairs",)

    pairs: list[tuple[str, Any]]

    def repeated_keys(self) -> Iterable[str]:
        """The keys that occur more than once."""
        once: set[str] = set()
        repeated: dict[str, None] = {}  # not a set, to keep the order of the keys
        for key, _ in self.pairs:
            if key in once:
                repeated[key] = None
            else:
                once.add(key)
        return repeated


_CONTAINERS = frozenset({dict, RepeatingObject, list})


class Document(NamedTuple):
    """A parsed JSON text. `value` consists of dict, `RepeatingObject`, list, str, bool, None, int and `Number`."""

    value: Any
    has_repeated_keys: bool


def refuse_constant(name: str) -> None:
    """Raises NotJsonError. Passed to `json` as `parse_constant`, so that NaN and Infinity are rejected."""
    raise NotJsonError(f"{name} is not JSON")


def read_json(body: bytes) -> Document:
    """Parses the body, which must not begin with a byte-order mark. Raises NotJsonError.

    Does not check `MAX_DEPTH`: call `check_structure`. Only Python's recursion limit limits the depth.
    """
    if body.startswith(BYTE_ORDER_MARK):
        raise NotJsonError("a byte-order mark is allowed only once, at the beginning of the body")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotJsonError(f"not UTF-8: byte {error.start} can't be decoded") from None
    try:
        return _read(text)
    except json.JSONDecodeError as error:
        # Some messages, such as "Invalid control character at", already end with " at".
        raise NotJsonError(f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise NotJsonError(_TOO_DEEP) from None


def _read(text: str) -> Document:
    repeating: list[RepeatingObject] = []

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Called for each object. If a text has many objects, this function takes most of the time.
        if not pairs:
            return {}
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        found = RepeatingObject(members)
        found.pairs = pairs
        repeating.append(found)
        return found

    options: dict[str, Any] = {"object_pairs_hook": read_object, "parse_float": Number}
    try:
        value = json.loads(text, parse_constant=refuse_constant, **options)
    except (json.JSONDecodeError, NotJsonError):
        raise
    except ValueError:
        # Python raises ValueError for an integer of several thousand digits.
        value = json.loads(text, parse_constant=refuse_constant, parse_int=_read_integer, **options)
    return Document(value, bool(repeating))


def _read_integer(digits: str) -> int | Number:
    try:
        return int(digits)
    except ValueError:
        return Number(digits)


def check_structure(value: Any) -> None:
    """Raises NotJsonError if `MAX_DEPTH` is exceeded, and InvalidOrderError if `MAX_CONTAINERS` is exceeded."""
    level = [value]
    count = 0
    for depth in range(MAX_DEPTH + 1):
        # Skips empty objects and lists: visiting them takes most of the time. On the last level, even empty objects and
        # lists are too deep.
        is_last = depth == MAX_DEPTH
        level = [
            child
            for parent in level
            if type(parent) in _CONTAINERS
            for child in (parent if type(parent) is list else parent.values())
            if (child or is_last) and type(child) in _CONTAINERS
        ]
        count += len(level)
        if count > MAX_CONTAINERS:
            raise InvalidOrderError([FieldError("#", f"must hold at most {MAX_CONTAINERS} arrays and objects")])
    if level:
        raise NotJsonError(_TOO_DEEP)


def repeated_keys(value: Any) -> Steps[list[Path]]:
    """The paths of all repeated keys, at any depth. Outer keys come before inner ones."""
    found: list[Path] = []
    waiting: list[tuple[Path, Any]] = [(ROOT, value)]
    for number, (path, parent) in enumerate(waiting):  # the loop appends to `waiting`
        if type(parent) is list:
            waiting += [((path, at), each) for at, each in enumerate(parent) if each and type(each) in _CONTAINERS]
        elif isinstance(parent, dict):
            waiting += [((path, key), each) for key, each in parent.items() if each and type(each) in _CONTAINERS]
            if isinstance(parent, RepeatingObject):
                found += [(path, key) for key in parent.repeated_keys()]
        if number % _CONTAINERS_A_STEP == 0:
            yield
    return found


def same_value(one: str | None, other: str | None) -> bool:
    """Whether two JSON texts have equal values. White space and the order of keys do not matter. 1.0 equals 1.

    None equals only None.
    """
    if one is None or other is None or one == other:
        return one == other
    return bool(_comparable(one) == _comparable(other))


def _comparable(text: str) -> Any:
    return json.loads(text, parse_int=_number_value, parse_float=_number_value)


def _number_value(text: str) -> tuple[str | Decimal]:
    # Not the number itself, because 1 == True in Python. A tuple never equals True.
    number = exact_decimal(text)
    return (text if number is None else number,)


def exact_decimal(number: str) -> Decimal | None:
    """The value of a JSON number; None if Decimal can't hold its exponent."""
    try:
        return Decimal(number)
    except InvalidOperation:
        return None
