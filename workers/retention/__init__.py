"""Moves orders that are older than --keep to the archive."""
