"""Moves the orders of a SQLite file to a PostgreSQL database."""
