"""Runs a test for each case of a table, as one test: with `parametrize`, a short case would take longer to set up."""

import functools
import inspect
import reprlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

import pytest

Test = Callable[..., Any]

_describe = reprlib.Repr()
_describe.maxstring = _describe.maxother = _describe.maxlong = 200


def cases(names: str | Sequence[str], values: Iterable[Any]) -> Callable[[Test], Test]:
    """Calls the test once for each value, and reports all cases that fail. Takes the arguments of `parametrize`.

    The cases of a test share its fixtures, so no case may change a fixture for the next case.
    """
    is_one = isinstance(names, str) and "," not in names
    arguments = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    table = [dict(zip(arguments, [value] if is_one else value, strict=True)) for value in values]
    if not table:
        raise ValueError("no cases")

    def decorate(test: Test) -> Test:
        if inspect.iscoroutinefunction(test):

            async def run_async(**fixtures: Any) -> None:
                failures = []
                for case in table:
                    try:
                        await cast(Awaitable[None], test(**fixtures, **case))
                    except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 - raised below
                        failures.append(_with_case(failure, case))
                _raise(failures, len(table))

            run: Test = run_async
        else:

            def run_sync(**fixtures: Any) -> None:
                failures = []
                for case in table:
                    try:
                        test(**fixtures, **case)
                    except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 - raised below
                        failures.append(_with_case(failure, case))
                _raise(failures, len(table))

            run = run_sync
        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in arguments]
        functools.update_wrapper(run, test)
        cast(Any, run).__signature__ = signature.replace(parameters=fixtures)
        return run

    return decorate


def _with_case(failure: BaseException, case: dict[str, Any]) -> BaseException:
    failure.add_note("with " + ", ".join(f"{name}={_describe.repr(value)}" for name, value in case.items()))
    return failure


def _raise(failures: Sequence[BaseException], count: int) -> None:
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {count} cases fail", failures)
