"""The flags for processing orders. Pure functions, used on the main thread."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from workers.processors.selection import RECORD, WEBHOOK, check_processor
from workers.processors.webhooks.headers import AddHeader, Headers, parse_headers
from workers.processors.webhooks.secrets import SecretSource, parse_source
from workers.processors.webhooks.settings import CONNECTIONS, TIMEOUT_S, WebhookSettings, check_url
from workers.retention.settings import RetentionSettings

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MAX_DIGITS = 5


class ProcessingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the flags. Each field has the name of its flag."""

    workers: int
    attempt_timeout: float | None
    processor: str
    webhook_url: str | None
    webhook_secret: SecretSource | None
    webhook_header: Headers
    webhook_timeout: float
    webhook_connections: int
    max_attempts: int
    max_intake: int
    max_backlog: int
    drain_timeout: float
    keep: int | None
    archive: Path | None

    @property
    def retention(self) -> RetentionSettings | None:
        """How long orders are kept; None if they are kept for ever."""
        return None if self.keep is None else RetentionSettings(self.keep, self.archive)

    @property
    def webhook(self) -> WebhookSettings | None:
        """The settings of the webhook; None without a URL or a secret."""
        if self.webhook_url is None or self.webhook_secret is None:
            return None
        return WebhookSettings(
            url=self.webhook_url,
            secrets=self.webhook_secret,
            headers=self.webhook_header,
            timeout_s=self.webhook_timeout,
            connections=self.webhook_connections,
        )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags. Their `type` functions raise ValueError, without the value, if the value is invalid."""
    add = parser.add_argument
    add("--workers", type=_between(1, 1_000), default="8", help="threads that call the function")
    add(
        "--attempt-timeout",
        type=_between(0.1, 86_400, float),
        default=None,
        help="seconds after which an attempt is given up and the order retried",
    )
    add(
        "--processor",
        type=check_processor,
        default=RECORD,
        help="how to process: record, webhook or package.module:function",
    )
    add("--webhook-url", type=check_url, default=None, help="URL to which --processor webhook sends orders")
    add(
        "--webhook-secret",
        type=parse_source,
        default=None,
        help="base64 keys for webhooks, separated by spaces, or @FILE with the keys; safer as ORDERS_WEBHOOK_SECRET",
    )
    add(
        "--webhook-header",
        type=parse_headers,
        action=AddHeader,
        default=None,
        metavar="'NAME: VALUE'",
        help="header of each webhook; can be repeated; one a line in ORDERS_WEBHOOK_HEADER",
    )
    add(
        "--webhook-timeout",
        type=_between(0.1, 3_600, float),
        default=f"{TIMEOUT_S:g}",
        help="seconds within which the receiver of a webhook must respond",
    )
    add(
        "--webhook-connections",
        type=_between(1, 1_000),
        default=str(CONNECTIONS),
        help="orders that are sent to the receiver of a webhook at a time",
    )
    add(
        "--max-attempts",
        type=_between(1, 1_000_000),
        default="20",
        help="attempts to process an order before it is Failed",
    )
    add(
        "--max-intake",
        type=_between(1, 1_000_000),
        default="10000",
        help="if this many orders wait for a commit, new ones get 503",
    )
    add(
        "--max-backlog",
        type=_between(1, 1_000_000_000),
        default="1000000",
        help="if this many orders are Pending, new ones get 503",
    )
    add(
        "--drain-timeout",
        type=_between(0, 86_400, float),
        default="10",
        help="seconds that running attempts have to finish when the server stops",
    )
    add(
        "--keep",
        type=_duration,
        default=None,
        metavar="90d",
        help="delete Completed and Cancelled orders that ended longer ago than this: a number and s, m, h or d",
    )
    add(
        "--archive",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="with --keep: write orders to gzipped files in this folder before they are deleted",
    )


def settings_from(values: Mapping[str, Any], arguments: Sequence[str]) -> ProcessingSettings:
    """The settings from these values, which were parsed from `arguments` and the environment.

    Raises ValueError if a flag needs another flag that is not set.
    """
    settings = msgspec.convert({**values, "webhook_header": values["webhook_header"] or ()}, ProcessingSettings)
    if settings.processor == WEBHOOK and settings.webhook is None:
        raise ValueError("--processor webhook needs --webhook-url and --webhook-secret or ORDERS_WEBHOOK_SECRET")
    if settings.processor != WEBHOOK and any(each.partition("=")[0] == "--webhook-url" for each in arguments):
        # Without this check, orders would be Completed without a delivery. ORDERS_WEBHOOK_URL alone is allowed, for
        # later use.
        raise ValueError("--webhook-url needs --processor webhook")
    if settings.keep is None and any(each.partition("=")[0] == "--archive" for each in arguments):
        raise ValueError("--archive needs --keep")
    return settings


def _duration(text: str) -> int:
    """Converts a duration such as 90d to seconds."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal() and unit in _UNITS and len(number) <= _MAX_DIGITS and int(number)):
        raise ValueError("must be a number and s, m, h or d, such as 90d")
    return int(number) * _UNITS[unit]


def _between(low: float, high: float, kind: type[float] = int) -> Callable[[str], float]:
    message = f"must be {'an integer' if kind is int else 'a number'} from {low} to {high}"

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(message) from None
        if not low <= value <= high:
            raise ValueError(message)
        return value

    return convert
