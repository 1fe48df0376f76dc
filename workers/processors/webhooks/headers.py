"""The headers that `--webhook-header` adds to each delivery. Pure functions, used on the main thread."""

import argparse
import re
from collections.abc import Sequence
from typing import Any

Headers = tuple[tuple[str, str], ...]
"""Pairs of a name and a value, in the order in which they were given."""

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*((?:[!-~](?:[\t -~]*[!-~])?)?)[\t ]*")
_RESERVED = re.compile(
    r"webhook-.*|accept-encoding|connection|content-.*|expect|host|keep-alive|proxy-connection|te|traceparent|trailer"
    r"|transfer-encoding|upgrade|x-request-id",
    re.IGNORECASE,
)


def parse_headers(text: str) -> Headers:
    """The headers in a text with one `Name: value` in each line.

    Raises ValueError if a header is not allowed. The error does not contain values, which can be secret.
    """
    headers = []
    for line in text.split("\n"):
        found = _HEADER.fullmatch(line)
        if not found:
            raise ValueError("must be 'Name: value', in visible ASCII characters")
        if _RESERVED.fullmatch(found[1]):
            raise ValueError(f"can't set {found[1]}: the server sets it")
        headers.append((found[1], found[2]))
    names = [name.lower() for name, _ in headers]
    if len(set(names)) < len(names):
        raise ValueError("sets a header twice")
    return tuple(headers)


class AddHeader(argparse.Action):
    """The action of `--webhook-header`: adds a header. If this flag is used, `ORDERS_WEBHOOK_HEADER` is ignored."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        headers: Sequence[Any] = values or ()
        present = getattr(namespace, self.dest)
        before: Headers = present if isinstance(present, tuple) else ()
        if len(headers) != 1:
            raise argparse.ArgumentError(self, "must be one header, without a line break")
        if headers[0][0].lower() in {name.lower() for name, _ in before}:
            raise argparse.ArgumentError(self, "sets a header twice")
        setattr(namespace, self.dest, (*before, *headers))
