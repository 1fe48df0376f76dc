"""The processor that calls a user's function, and how the function is loaded."""

import asyncio
import concurrent.futures
import functools
import gc
import itertools
import math
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models.order import Order as StoredOrder
from models.order import Status
from tests.cases import cases
from workers.processors import Order
from workers.processors.functions.coroutine_thread import CoroutineThread
from workers.processors.functions.function import (
    AsyncFunctionProcessor,
    FunctionProcessor,
    FunctionRefusedError,
    is_async,
    load_function,
)
from workers.processors.outcomes import NotDeliveredError, Rejected, RetryLater

CREATED_US = 1_740_830_400_250_001
_numbers = itertools.count(1)


def order(
    order_id: int = 7,
    *,
    total_amount: int = 999_900,
    metadata: str | None = None,
    attempts: int = 1,
    created_us: int = CREATED_US,
) -> StoredOrder:
    status = Status.PROCESSING
    return StoredOrder(
        order_id, order_id, 3, [102, 101], total_amount, metadata, status, attempts, 9, None, created_us, None
    )


@contextmanager
def processor_of(function: Callable[[Order], object]) -> Iterator[FunctionProcessor]:
    coroutines = CoroutineThread()
    try:
        yield FunctionProcessor(function, coroutines=coroutines)
    finally:
        coroutines.close()


def process(function: Callable[[Order], object]) -> None:
    """Processes one order with the function."""
    with processor_of(function) as processor:
        processor(order())


def argument_for(stored: StoredOrder) -> Order:
    """The argument that the function is called with."""
    calls: list[Order] = []
    with processor_of(calls.append) as processor:
        processor(stored)
    [call] = calls
    return call


# Arguments


def test_the_function_is_called_with_the_order() -> None:
    assert argument_for(order(attempts=4, metadata='{"currency": "EUR"}')) == Order(
        order_id=7,
        user_id=3,
        item_ids=[102, 101],
        total_amount=Decimal("99.99"),
        metadata={"currency": "EUR"},
        created_time=datetime(2025, 3, 1, 12, 0, 0, 250_001, UTC),
        attempt=4,
    )


@cases(("ten_thousandths", "text"), [(0, "0"), (1, "0.0001"), (1_000, "0.1"), (99_999_999_999_999, "9999999999.9999")])
def test_the_amount_is_an_exact_decimal(ten_thousandths: int, text: str) -> None:
    amount = argument_for(order(total_amount=ten_thousandths)).total_amount
    assert isinstance(amount, Decimal)
    assert str(amount) == text


@cases(
    ("metadata", "value"),
    [
        (None, None),
        ("{}", {}),
        ('{"a": {"b": [1, 2.5, null, true, "\\u00e9✓"]}}', {"a": {"b": [1, 2.5, None, True, "é✓"]}}),
        ('{"long": -123456789012345678901234567890}', {"long": -123456789012345678901234567890}),
        ('{"longest": 1' + "0" * 4_299 + "}", {"longest": 10**4_299}),
        ('{"too long": -' + "9" * 16_000 + "}", {"too long": -math.inf}),
    ],
)
def test_metadata_is_a_dictionary_or_none(metadata: str | None, value: dict[str, Any] | None) -> None:
    assert argument_for(order(metadata=metadata)).metadata == value


@cases(
    ("created_us", "text"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (1, "1970-01-01T00:00:00.000001+00:00"),
        (CREATED_US, "2025-03-01T12:00:00.250001+00:00"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_the_time_is_exact_and_in_utc(created_us: int, text: str) -> None:
    created_time = argument_for(order(created_us=created_us)).created_time
    assert created_time.utcoffset() == timedelta(0)
    assert created_time.isoformat() == text


# Results and exceptions


@cases("result", [None, 0, False, "failed", ValueError("not raised"), NotImplemented, iter([])])
def test_any_returned_value_completes_the_order(result: object) -> None:
    process(lambda order: result)


@cases(
    "error",
    [Rejected("no"), RetryLater(5), NotDeliveredError("x"), KeyError("sku"), KeyboardInterrupt(), SystemExit(1)],
)
def test_an_exception_of_the_function_is_not_changed(error: BaseException) -> None:
    def raising(order: Order) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        process(raising)
    assert caught.value is error


async def reject_later(order: Order) -> None:
    """Rejects the order in a later iteration of the event loop."""
    await asyncio.sleep(0)
    raise Rejected("no")


class AsyncShop:
    async def __call__(self, order: Order) -> None:
        await reject_later(order)


@cases(
    "function",
    [
        reject_later,
        AsyncShop(),
        AsyncShop().__call__,
        functools.partial(lambda shop, order: reject_later(order), 1),
        functools.partial(AsyncShop()),
        functools.wraps(reject_later)(lambda order: reject_later(order)),
        lambda order: asyncio.wait_for(reject_later(order), 30),
    ],
)
def test_a_coroutine_is_run_and_its_exception_decides(function: Callable[[Order], object]) -> None:
    with pytest.raises(Rejected, match=r"^no$"):
        process(function)


@cases("error", [RetryLater(5), KeyError("sku"), KeyboardInterrupt(), SystemExit(1)])
def test_an_exception_of_a_coroutine_is_not_changed(error: BaseException) -> None:
    async def raising(order: Order) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        process(raising)
    assert caught.value is error


def test_all_coroutines_share_one_event_loop() -> None:
    found = []

    async def remember(order: Order) -> None:
        found.append((threading.get_ident(), asyncio.get_running_loop()))

    with processor_of(remember) as processor:
        for _ in range(2):
            processor(order())
    assert len(found) == 2
    assert len(set(found)) == 1
    assert found[0][0] != threading.get_ident()


@cases(
    ("function", "expected"),
    [
        (reject_later, True),
        (AsyncShop(), True),
        (AsyncShop().__call__, True),
        (functools.partial(reject_later), True),
        (functools.partial(AsyncShop()), False),
        (lambda order: reject_later(order), False),
        (print, False),
    ],
)
def test_a_function_is_async_if_a_call_cannot_block(function: Callable[[Order], object], expected: bool) -> None:
    assert is_async(function) is expected


@pytest.mark.gen_test
async def test_an_async_function_is_called_with_the_order() -> None:
    called: list[Order] = []

    async def remember(order: Order) -> None:
        called.append(order)

    await AsyncFunctionProcessor(remember)(order(attempts=4))
    assert called == [argument_for(order(attempts=4))]


@pytest.mark.gen_test
async def test_the_exception_of_an_async_function_decides() -> None:
    with pytest.raises(Rejected, match=r"^no$"):
        await AsyncFunctionProcessor(reject_later)(order())


@pytest.mark.gen_test
async def test_an_async_function_that_returns_something_that_has_not_run_is_an_error() -> None:
    with pytest.raises(TypeError, match="a coroutine, but did not await it"):
        await AsyncFunctionProcessor(forget_await)(order())


def generate(order: Order) -> Iterator[None]:
    yield


async def generate_async(order: Order) -> AsyncIterator[None]:
    yield


async def finish(order: Order) -> None:
    pass


async def forget_await(order: Order) -> object:
    return finish(order)


async def forget_task(order: Order) -> object:
    return asyncio.ensure_future(finish(order))


class Promise:
    def __await__(self) -> Generator[None, None, None]:
        yield


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda order: generate(order), "a generator, but did not run it"),
        (functools.wraps(finish)(lambda order: generate(order)), "a generator, but did not run it"),
        (functools.partial(lambda shop, order: generate(order), 1), "a generator, but did not run it"),
        (lambda order: generate_async(order), "an async generator, but did not run it"),
        (lambda order: concurrent.futures.Future(), "a future, but did not wait for it"),
        (lambda order: Promise(), "an awaitable, but did not await it"),
        (forget_await, "a coroutine, but did not await it"),
        (forget_task, "a future, but did not wait for it"),
    ],
)
def test_returning_something_that_has_not_run_is_an_error(
    function: Callable[[Order], object], message: str, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(TypeError, match=f"^the function returned {message}$"):
        process(function)
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


# Loading


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module with the given text and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    names: list[str] = []

    def write(text: str) -> str:
        names.append(f"users_module_{next(_numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(text)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


def refusal(path: str) -> str:
    """The text of the error for this path: one line that contains the path."""
    with pytest.raises(FunctionRefusedError) as caught:
        load_function(path)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert path in text
    return text


def test_a_function_in_a_module_is_loaded(module: Callable[[str], str]) -> None:
    name = module("def process(order):\n    raise LookupError(order.order_id)\n")
    function = load_function(f"{name}:process")
    with pytest.raises(LookupError, match=r"^7$"):
        process(function)


def test_a_function_in_a_package_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = f"users_package_{next(_numbers)}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "orders.py").write_text("def process(order): return 'found'\n")
    monkeypatch.syspath_prepend(tmp_path)
    found: Any = load_function(f"{package}.orders:process")
    assert found(None) == "found"
    assert f"module '{package}' has no attribute 'process'" in refusal(f"{package}:process")


@cases(
    ("text", "name"),
    [
        (
            "class Shop:\n    class Orders:\n        @staticmethod\n        def process(order): pass\n",
            "Shop.Orders.process",
        ),
        ("class Shop:\n    def process(self, order): pass\nshop = Shop()\n", "shop.process"),
        ("class Shop:\n    @classmethod\n    def process(cls, order): pass\n", "Shop.process"),
        ("class Shop:\n    def __call__(self, order): pass\nshop = Shop()\n", "shop"),
        ("class Shop:\n    def __init__(self, order): pass\n", "Shop"),
        ("import functools\ndef process(shop, order): pass\nbound = functools.partial(process, 1)\n", "bound"),
        ("process = lambda order: None\n", "process"),
        ("def process(order, shop=1, *, retries=2): pass\n", "process"),
        ("def process(order=None): pass\n", "process"),
        ("def process(order, /): pass\n", "process"),
        ("def process(*orders): pass\n", "process"),
        ("def process(*arguments, **options): pass\n", "process"),
        ("process = print\n", "process"),
        ("process = [].append\n", "process"),
        ("process = int\n", "process"),
        ("async def process(order): pass\n", "process"),
        ("class Shop:\n    async def __call__(self, order): pass\nshop = Shop()\n", "shop"),
    ],
)
def test_any_callable_with_one_argument_is_accepted(module: Callable[[str], str], text: str, name: str) -> None:
    assert callable(load_function(f"{module(text)}:{name}"))


def test_a_builtin_is_accepted() -> None:
    assert load_function("builtins:print") is print


@cases(
    "text",
    [
        "def process(): pass\n",
        "def process(order, shop): pass\n",
        "def process(*, order): pass\n",
        "def process(order, *, shop): pass\n",
        "class process:\n    pass\n",
        "class Shop:\n    def __call__(self): pass\nprocess = Shop()\n",
        "class Shop:\n    @staticmethod\n    def process(): pass\nprocess = Shop.process\n",
        "import functools\ndef two(shop, order): pass\nprocess = functools.partial(two, 1, 2)\n",
    ],
)
def test_a_callable_with_other_arguments_is_refused(module: Callable[[str], str], text: str) -> None:
    path = f"{module(text)}:process"
    assert refusal(path).startswith(f"{path} can't be called with an order: ")


@cases(
    "text",
    [
        "def process(order): yield\n",
        "async def process(order): yield\n",
        "process = lambda order: (yield)\n",
        "class Shop:\n    def __call__(self, order): yield\nprocess = Shop()\n",
        "import functools\ndef two(shop, order): yield\nprocess = functools.partial(two, 1)\n",
    ],
)
def test_a_generator_is_refused(module: Callable[[str], str], text: str) -> None:
    path = f"{module(text)}:process"
    assert refusal(path) == f"{path} is a generator: a function without yield is needed"


@cases("value", ["None", "42", "'process'", "object()", "__import__('os')"])
def test_an_object_that_is_not_callable_is_refused(module: Callable[[str], str], value: str) -> None:
    path = f"{module(f'process = {value}')}:process"
    assert refusal(path) == f"{path} is not a function"


@cases(
    ("text", "reason"),
    [
        ("raise RuntimeError('no\\n  database')", "RuntimeError: no database"),
        ("raise RuntimeError", "RuntimeError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import sys; sys.exit('no\\nlicense')", "SystemExit: no license"),
        ("def process(order)\n    pass", "SyntaxError: "),
        ("def process(order):\npass", "IndentationError: "),
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("from os import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("def __getattr__(name): raise RuntimeError('no ' + name)", "RuntimeError: no process"),
        ("x = 1\0", ""),
    ],
)
def test_a_module_that_raises_is_refused_with_its_error(module: Callable[[str], str], text: str, reason: str) -> None:
    path = f"{module(text)}:process"
    assert refusal(path).startswith(f"can't import {path}: {reason}")


def test_an_interrupt_during_the_import_is_raised_unchanged(module: Callable[[str], str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_function(f"{module('raise KeyboardInterrupt')}:process")


@cases(
    "path",
    [
        "",
        ":",
        ":process",
        "os",
        "os:",
        "os:no_such_name",
        "os:path.no_such_name",
        "os:path:join",
        "no_such_module_anywhere:process",
        "os.no_such_module:process",
        "no such module:process",
        ".os:process",
        "..:process",
        "os/path.py:join",
    ],
)
def test_a_path_without_a_function_is_refused(path: str) -> None:
    assert refusal(path).startswith(f"can't import {path}: ")


def test_the_error_of_a_module_is_the_cause_of_the_raised_error(module: Callable[[str], str]) -> None:
    with pytest.raises(FunctionRefusedError) as caught:
        load_function(f"{module('1 / 0')}:process")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_signature_of_a_wrapped_function_is_checked(
    module: Callable[[str], str],
) -> None:
    text = "import functools\ndef one(order): pass\n@functools.wraps(one)\ndef process(*arguments): pass\n"
    assert callable(load_function(f"{module(text)}:process"))
