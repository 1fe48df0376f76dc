"""The processor that calls a user's function for each order. Runs on the worker threads."""

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

from msgspec import Struct

from models.errors import StartRefusedError
from models.order import Order, amount_as_decimal
from workers.error_text import one_line, text_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FunctionRefusedError(StartRefusedError):
    """The function can't be used. The text gives the reason in one line."""


class OrderToProcess(Struct, frozen=True):
    """The argument of the function. `attempt` counts from 1; `created_time` is in UTC."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    metadata: dict[str, Any] | None
    created_time: datetime
    attempt: int


class FunctionProcessor:
    """Calls `function` with each order. An exception decides the outcome; the returned value is ignored."""

    batch_size = 1

    def __init__(self, function: Callable[[OrderToProcess], object]) -> None:
        self._function = function

    def __call__(self, orders: Sequence[Order]) -> None:
        for order in orders:
            result = self._function(_order_to_process(order))
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise TypeError("the function returned an awaitable, but must be a plain function")


def _order_to_process(order: Order) -> OrderToProcess:
    return OrderToProcess(
        order.order_id,
        order.user_id,
        order.item_ids,
        amount_as_decimal(order.total_amount),
        None if order.metadata is None else json.loads(order.metadata, parse_int=_integer),
        _EPOCH + timedelta(microseconds=order.created_us),
        order.attempts,
    )


def _integer(digits: str) -> int | float:
    # `int` raises ValueError for more digits
    # (https://docs.python.org/3/library/stdtypes.html#int-max-str-digits).
    return int(digits) if len(digits.lstrip("-")) <= sys.int_info.default_max_str_digits else float(digits)


def load_function(path: str) -> Callable[[OrderToProcess], object]:
    """Imports the module of `package.module:name` and returns its function. Raises FunctionRefusedError."""
    module_name, _, name = path.partition(":")
    try:
        function = attrgetter(name)(importlib.import_module(module_name))
    except (Exception, SystemExit) as error:  # runs the user's module, which can raise anything
        raise FunctionRefusedError(f"can't import {path}: {one_line(text_of(error))}") from error
    if not callable(function):
        raise FunctionRefusedError(f"{path} is not a function")
    if any(
        is_unsupported(each)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - an object's __call__ may be async
        for is_unsupported in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        raise FunctionRefusedError(f"{path} is a coroutine or a generator: a plain function is needed")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise FunctionRefusedError(f"{path} can't be called with an order: {error}") from error
    except ValueError:  # some functions written in C have no signature
        pass
    return function  # type: ignore[no-any-return]  # the signature was checked above
