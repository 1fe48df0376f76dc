"""Where orders are stored: a SQLite file, or a PostgreSQL database. Immutable values; usable on any thread."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

_SCHEMES = ("postgresql://", "postgres://")


_HOST = r"([\w.%-]*|\[[\w.:%]*\])(:\d*)?"
_HOSTS = re.compile(f"{_HOST}(,{_HOST})*")
"""Names or addresses, each with or without the number of a port."""


class PostgresqlUrl(Struct, frozen=True):
    """The URL of a PostgreSQL database, in the form that PostgreSQL's own programs take.

    Converted to a string, it has no password, so it can be shown and logged.
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    """

    url: str

    @property
    def has_password(self) -> bool:
        """Whether the URL contains a password."""
        parts = urlsplit(self.url)
        user, at, _ = parts.netloc.rpartition("@")
        return (bool(at) and ":" in user) or any(each in parse_qs(parts.query) for each in ("password", "sslpassword"))

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        user, at, hosts = parts.netloc.rpartition("@")
        # If a special character in a password is not encoded, a part of the password can be in any part of the URL.
        if "@" in parts.path + parts.query + parts.fragment or "@" in user or not _HOSTS.fullmatch(hosts):
            return "postgresql://…"
        return f"postgresql://{user.partition(':')[0]}{at}{hosts}{parts.path}"

    def __repr__(self) -> str:
        return f"PostgresqlUrl({str(self)!r})"


DatabaseAddress = Path | PostgresqlUrl
"""The path of a SQLite file, or the URL of a PostgreSQL database."""


def parse_address(text: str) -> DatabaseAddress:
    """The URL if the text begins like the URL of a PostgreSQL database, else the path."""
    return PostgresqlUrl(text) if text.startswith(_SCHEMES) else Path(text)


def parse_url(text: str) -> PostgresqlUrl:
    """The URL. Raises ValueError if the text does not begin like the URL of a PostgreSQL database."""
    address = parse_address(text)
    if not isinstance(address, PostgresqlUrl):
        raise ValueError("must begin with postgresql://")
    return address
