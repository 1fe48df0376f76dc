"""Checks and repairs the database file."""
