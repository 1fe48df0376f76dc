"""Parses request bodies into orders."""
