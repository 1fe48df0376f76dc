"""The processors that call a user's function for each order. The runners call these processors on other threads."""

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeGuard

from models.errors import StartRefusedError
from models.order import Order as StoredOrder
from models.order import amount_as_decimal
from workers.error_text import one_line, text_of
from workers.log_fields import ATTEMPTED
from workers.processors.functions.coroutine_thread import CoroutineThread
from workers.processors.functions.order import Order

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FunctionRefusedError(StartRefusedError):
    """The function that `--processor` names can't be used. The text gives the reason in one line."""


class FunctionProcessor:
    """Calls `function` with each order. Runs a returned coroutine on the thread of `coroutines`, and waits for its end.

    `Processor` describes the effect of an exception that the function or the coroutine raises. A returned generator,
    future or other awaitable makes the attempt fail, because the work of the function is not done yet. Any other
    returned value is ignored.
    """

    def __init__(self, function: Callable[[Order], object], *, coroutines: CoroutineThread) -> None:
        self._function = function
        self._coroutines = coroutines

    def __call__(self, order: StoredOrder) -> None:
        token = ATTEMPTED.set(order)
        try:
            self._call(order)
        finally:
            ATTEMPTED.reset(token)

    def _call(self, order: StoredOrder) -> None:
        result = self._function(_argument(order))
        if not inspect.iscoroutine(result):
            _check_has_run(result)
            return
        try:
            ended = self._coroutines.start(_run_and_check(result))
        except (RuntimeError, OSError):
            result.close()
            raise
        ended.result()


class AsyncFunctionProcessor:
    """Returns, for each order, a coroutine that runs the async function `function` with this order."""

    def __init__(self, function: Callable[[Order], Coroutine[Any, Any, object]]) -> None:
        self._function = function

    async def __call__(self, order: StoredOrder) -> None:
        ATTEMPTED.set(order)  # in the context of this task, which ends with this coroutine
        _check_has_run(await self._function(_argument(order)))


async def _run_and_check(coroutine: Coroutine[Any, Any, object]) -> None:
    _check_has_run(await coroutine)


def _check_has_run(result: object) -> None:
    """Raises TypeError if the work of the function is not done yet, so that the order does not become Completed.

    `result` is what the function returned.
    """
    match result:
        case Generator():
            fault = "a generator, but did not run it"
        case AsyncGenerator():
            fault = "an async generator, but did not run it"
        case Coroutine():
            result.close()
            fault = "a coroutine, but did not await it"
        case asyncio.Future() | Future():
            fault = "a future, but did not wait for it"
        case Awaitable():
            fault = "an awaitable, but did not await it"
        case _:
            return
    raise TypeError(f"the function returned {fault}")


def _argument(order: StoredOrder) -> Order:
    return Order(
        order_id=order.order_id,
        user_id=order.user_id,
        item_ids=order.item_ids,
        total_amount=amount_as_decimal(order.total_amount),
        metadata=None if order.metadata is None else json.loads(order.metadata, parse_int=_integer),
        created_time=_EPOCH + timedelta(microseconds=order.created_us),
        attempt=order.attempts,
    )


def _integer(digits: str) -> int | float:
    # `int` raises ValueError for a text with more digits than this limit
    # (https://docs.python.org/3/library/stdtypes.html#int-max-str-digits).
    return int(digits) if len(digits.lstrip("-")) <= sys.int_info.default_max_str_digits else float(digits)


def is_async(function: Callable[[Order], object]) -> TypeGuard[Callable[[Order], Coroutine[Any, Any, object]]]:
    """Whether a call of the function only returns a coroutine, and so does not block."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def load_function(path: str) -> Callable[[Order], object]:
    """Imports the function that `package.module:name` names.

    Raises FunctionRefusedError if the import fails, or if the function can't be called with an order.
    """
    module_name, _, name = path.partition(":")
    try:
        function = attrgetter(name)(importlib.import_module(module_name))
    except (Exception, SystemExit) as error:  # importing the user's module can raise anything
        raise FunctionRefusedError(f"can't import {path}: {one_line(text_of(error))}") from error
    if not callable(function):
        raise FunctionRefusedError(f"{path} is not a function")
    if any(
        is_generator(each)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - its __call__ can be a generator
        for is_generator in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        raise FunctionRefusedError(f"{path} is a generator: a function without yield is needed")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise FunctionRefusedError(f"{path} can't be called with an order: {error}") from error
    except ValueError:  # some functions written in C have no signature
        pass
    return function  # type: ignore[no-any-return]  # the signature was checked above
