"""The processor that calls a function of the user's, on the worker threads."""

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
from workers.retries import one_line, text_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FunctionRefusedError(StartRefusedError):
    """There is no function to call; the text says why in one line."""


class OrderToProcess(Struct, frozen=True):
    """What the function is called with. `attempt` counts from 1, `created_time` is in UTC."""

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: Decimal
    metadata: dict[str, Any] | None
    created_time: datetime
    attempt: int


class FunctionProcessor:
    """Calls `function` with each order; what it returns is of no interest, what it raises decides."""

    batch_size = 1

    def __init__(self, function: Callable[[OrderToProcess], object]) -> None:
        self._function = function

    def __call__(self, orders: Sequence[Order]) -> None:
        for order in orders:
            result = self._function(_as_given(order))
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise TypeError("the function returned an awaitable, which nobody awaits")


def _as_given(order: Order) -> OrderToProcess:
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
    # Python makes no int of more digits (https://docs.python.org/3/library/stdtypes.html#int-max-str-digits).
    return int(digits) if len(digits.lstrip("-")) <= sys.int_info.default_max_str_digits else float(digits)


def load_function(path: str) -> Callable[[OrderToProcess], object]:
    """The function at `package.module:name`, which runs the module. Raises FunctionRefusedError."""
    module_name, _, name = path.partition(":")
    try:
        function = attrgetter(name)(importlib.import_module(module_name))
    except (Exception, SystemExit) as error:  # it runs the user's module, which may raise anything
        raise FunctionRefusedError(f"can't import {path}: {one_line(text_of(error))}") from error
    if not callable(function):
        raise FunctionRefusedError(f"{path} is not a function")
    if any(
        is_other(each)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - an object's own, which may be async
        for is_other in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        raise FunctionRefusedError(f"{path} is a coroutine or a generator: a plain function is needed")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise FunctionRefusedError(f"{path} can't be called with an order: {error}") from error
    except ValueError:  # some that are written in C say nothing of their arguments
        pass
    return function  # type: ignore[no-any-return]
