"""Requests, responses and failures. Immutable values; usable on any thread."""

import enum
from collections.abc import Sequence

from msgspec import Struct


class Request(Struct, frozen=True, gc=False):
    """A POST request. Each header is one `Name: value`; `Name;` is a header without a value."""

    headers: Sequence[str]
    body: bytes


class Response(Struct, frozen=True, gc=False):
    """A response: its status, the beginning of its decompressed body, and headers as they were sent."""

    status: int
    body: bytes = b""
    content_type: str = ""
    retry_after: str | None = None


class FailureKind(enum.Enum):
    """Why a request got no response."""

    UNREACHABLE = "unreachable"
    """There is no connection, for example because the name has no address or the port is closed."""
    NOT_CONNECTED_IN_TIME = "not connected in time"
    INSECURE = "insecure"
    """There is no TLS connection, for example because the certificate is not trusted."""
    NOT_ANSWERED_IN_TIME = "not answered in time"
    NOT_HTTP = "not HTTP"
    """The connection was closed, or the received bytes are not a response."""
    INTERNAL = "internal"
    """This program or libcurl failed, but not necessarily the receiver."""


class Failure(Struct, frozen=True, gc=False):
    """A request that got no response. `cause` is a text of libcurl or of the system; it can contain any characters."""

    kind: FailureKind
    cause: str
