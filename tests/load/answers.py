"""Parses a response that arrived in one piece."""

from load.http.connection import Response, ResponseReader


def parse_answer(data: bytes, *, ended: bool = False) -> Response | None:
    """Parse bytes with a new `ResponseReader`."""
    return ResponseReader().add(data, ended=ended)
