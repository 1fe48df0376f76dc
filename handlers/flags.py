"""The flags for HTTP: addresses, access, TLS and logs. Pure functions, used on the main thread."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from handlers.logs.log_format import TEXT, check_format
from handlers.security.hosts import parse_hosts
from handlers.security.rate_limit import RateLimit, parse_rate_limit
from handlers.transport.sockets import check_host, check_port

MAX_STOP_DELAY_S = 86_400.0

_SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://\S+:[0-9]+")


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the flags. Each field has the name of its flag."""

    port: int
    host: str
    allowed_hosts: frozenset[str] | None
    api_keys: Path | None
    rate_limit: RateLimit | None
    tls_cert: Path | None
    tls_key: Path | None
    access_log: bool
    log_format: str
    stop_delay: float


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags. For an invalid value, the `type` of a flag raises a ValueError that does not show the value."""
    add = parser.add_argument
    add("--port", type=check_port, default="8080", help="TCP port to listen on; 0 takes a free one")
    add("--host", type=check_host, default="127.0.0.1", help="address to listen on")
    add(
        "--allowed-hosts",
        type=parse_hosts,
        default=None,
        help="hosts that the Host header may name, in addition to the loopback address and the address of --host",
    )
    add("--api-keys", type=Path, default=None, help="file with the API keys that requests must send, one per line")
    add(
        "--rate-limit",
        type=parse_rate_limit,
        default=None,
        help="requests allowed per API key, or per client address without a key: 100/s, 100/m or 100/h",
    )
    add(
        "--tls-cert",
        type=Path,
        default=None,
        help="PEM file with the certificate chain; the server then uses HTTPS",
    )
    add("--tls-key", type=Path, default=None, help="PEM file with the private key of the certificate")
    add(
        "--access-log",
        type=_switch,
        default="no",
        nargs="?",
        const="yes",
        metavar="yes|no",
        help="log a line for each request",
    )
    add("--log-format", type=check_format, default=TEXT, help="format of log lines: text or json")
    add(
        "--stop-delay",
        type=_check_delay,
        default="0",
        help="seconds for which the server still serves requests after SIGTERM, while /readyz responds with 503",
    )


def is_service_link(variable: str, value: str) -> bool:
    """Whether Kubernetes has set this environment variable, because there is a Kubernetes service named `orders`.

    Kubernetes then sets ORDERS_PORT to an address such as `tcp://10.0.0.1:8080`. The other variables that it sets, such
    as ORDERS_SERVICE_HOST and ORDERS_PORT_8080_TCP, have nothing to do with flags.
    """
    return variable == "ORDERS_PORT" and _SERVICE_LINK.fullmatch(value) is not None


def settings_from(values: Mapping[str, Any]) -> HttpSettings:
    """The settings in these parsed values. Raises ValueError if only one of --tls-cert and --tls-key is set."""
    settings = msgspec.convert(values, HttpSettings)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ValueError("--tls-cert and --tls-key must be used together")
    return settings


def _check_delay(text: str) -> float:
    message = f"must be a number from 0 to {MAX_STOP_DELAY_S:g}"
    try:
        delay_s = float(text)
    except ValueError:
        raise ValueError(message) from None
    if not 0 <= delay_s <= MAX_STOP_DELAY_S:
        raise ValueError(message)
    return delay_s


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise ValueError("must be 1, true or yes, or 0, false or no")
    return text.lower() in ("1", "true", "yes")
