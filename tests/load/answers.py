"""Parses a response that arrived in one piece."""

from load.http.connection import Response, parse_response


def parse_answer(data: bytes, *, ended: bool = False) -> Response | None:
    """Return the response in `data`, or None if it is incomplete. `ended` says that the connection ended."""
    return parse_response(data, ended=ended)
