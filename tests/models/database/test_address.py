"""Which databases are SQLite files, which are on PostgreSQL, and that no password is shown."""

from pathlib import Path

from models.database.address import PostgresqlUrl, parse_address
from tests.cases import cases


@cases("text", ["orders.db", "/var/lib/orders.db", "postgresql", "postgresql:/shop", "a//postgresql://"])
def test_any_other_text_is_the_path_of_a_file(text: str) -> None:
    assert parse_address(text) == Path(text)


@cases("text", ["postgresql://", "postgresql://shop@db/orders", "postgres://shop@db/orders"])
def test_the_url_of_a_database_is_kept_as_it_is(text: str) -> None:
    assert parse_address(text) == PostgresqlUrl(text)


@cases(
    ("url", "shown"),
    [
        ("postgresql://shop@db:5433/orders", "postgresql://shop@db:5433/orders"),
        ("postgres://db/orders", "postgresql://db/orders"),
        ("postgresql:///orders?host=/run/postgresql", "postgresql:///orders"),
        ("postgresql://shop:hunter2@db/orders", "postgresql://shop@db/orders"),
        ("postgresql://shop:hunter2@db1:1,db2:2/orders?sslmode=verify-full", "postgresql://shop@db1:1,db2:2/orders"),
        ("postgresql://shop@[::1]:5432/orders?password=hunter2", "postgresql://shop@[::1]:5432/orders"),
        ("postgresql://:hunter2@/orders", "postgresql://@/orders"),
        # Passwords whose special characters are not encoded.
        ("postgresql://shop:hunter2/@db/orders", "postgresql://…"),
        ("postgresql://shop:hunter2?@db/orders", "postgresql://…"),
        ("postgresql://shop:hunter2#@db/orders", "postgresql://…"),
        ("postgresql://shop:hunter2", "postgresql://…"),
        ("postgresql://shop:hunter2@x@db/orders", "postgresql://…"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    address = PostgresqlUrl(url)
    assert str(address) == shown
    assert "hunter2" not in repr(address)
    assert address.has_password is ("hunter2" in url) or shown == "postgresql://…"
