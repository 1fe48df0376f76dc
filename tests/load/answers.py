"""Parses a response that arrived in one piece."""

from load.http.connection import Response, ResponseReader


def parse_answer(data: bytes, *, ended: bool = False) -> Response | None:
    """Reads one answer, as `ResponseReader.add` does."""
    return ResponseReader().add(data, ended=ended)
