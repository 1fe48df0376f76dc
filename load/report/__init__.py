"""Renders the result of a run as one HTML page, for `--report`. The page needs no other file and no network."""
