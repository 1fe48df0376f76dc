"""The parser of the flags, which also reads the environment and hides secrets. Used on the main thread."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from handlers.flags import is_service_link
from handlers.security.api_keys import without_keys

T = TypeVar("T")


class FlagParser(argparse.ArgumentParser):
    """A parser of flags. A flag that has a default can also be set by an environment variable, such as ORDERS_PORT.

    Error messages do not show the values of flags, which can be secret.
    """

    def __init__(self, environment: Mapping[str, str], **options: Any) -> None:
        self._environment = environment
        super().__init__(**options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Adds a flag. If `type` raises ValueError, the operator sees the text of this error, but not the value."""
        if "type" in options:
            options["type"] = _checked(options["type"])
        if "type" in options and "default" in options:
            variable = "ORDERS_" + names[0].removeprefix("--").replace("-", "_").upper()
            options["help"] += f" (default: {options['default'] or 'none'})"
            # argparse converts a string default like the value of a flag. An empty variable counts as not set.
            value = self._environment.get(variable)
            if value and not is_service_link(variable, value):
                options["default"] = value
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        # The message can contain an API key that was passed in the wrong place.
        super().error(without_keys(message))


def _checked(convert: Callable[[str], T]) -> Callable[[str], T]:
    def checked(text: str) -> T:
        try:
            return convert(text)
        except ValueError as error:
            # argparse would add the value of the flag to the message of a ValueError.
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked
