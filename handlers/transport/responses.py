"""Builds HTTP/1.1 responses as bytes, for code that does not use Tornado's RequestHandler."""

import functools
import time
from collections.abc import Mapping
from http import HTTPStatus

from tornado.httputil import format_timestamp

from handlers.problems.problem import CONTENT_TYPE, Problem, problem_members
from handlers.transport.json_encoder import encode
from handlers.transport.request_ids import new_request_id

CLOSE = {"Connection": "close"}


def response_head(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of a response with only these headers. Their values must not contain line breaks."""
    return f"{status_line(status)}{header_lines(headers)}\r\n".encode("latin-1")


def header_lines(headers: Mapping[str, str]) -> str:
    """The header lines, each with its line break."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


@functools.lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """The first line of a response, with its line break."""
    return f"HTTP/1.1 {status:d} {HTTPStatus(status).phrase}\r\n"


def problem_response(
    problem: Problem, *, request_id: str, instance: str, headers: Mapping[str, str]
) -> tuple[dict[str, str], bytes]:
    """Returns the headers and the body of the response for a problem.

    `instance` is the path of the request. The returned headers include `headers`, which must include `problem.headers`.
    """
    body = encode(problem_members(problem, instance=instance, request_id=request_id))
    all_headers = {
        "Content-Type": CONTENT_TYPE,
        "Date": http_date(),
        "X-Request-Id": request_id,
        **headers,
        "Content-Length": str(len(body)),
    }
    return all_headers, body


def last_response(problem: Problem) -> bytes:
    """The whole response to a request that has not been read completely, with `Connection: close`."""
    # The path of the request may be unknown; "/" means the whole server.
    headers, body = problem_response(
        problem, request_id=new_request_id(), instance="/", headers=problem.headers | CLOSE
    )
    return response_head(problem.kind.status, headers) + body


def http_date() -> str:
    """The current time in the format of the Date header."""
    return _date_of(int(time.time()))


@functools.lru_cache(maxsize=2)
def _date_of(seconds: int) -> str:
    return format_timestamp(seconds)
