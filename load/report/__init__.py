"""Renders the result of a run as one HTML page, for `--report`. The page loads no other file."""
