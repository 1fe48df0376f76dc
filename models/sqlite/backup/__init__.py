"""Backs up the database file, and restores backups."""
