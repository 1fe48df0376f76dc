"""Orders in a SQLite file."""
