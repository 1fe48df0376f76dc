"""The id of a request, which its response repeats and the log shows. Pure functions."""

import random
import re

from tornado.httputil import HTTPHeaders

_GIVEN_ID = re.compile(r"[!-~]{1,128}")


def request_id_for(headers: HTTPHeaders) -> str:
    """The id that the client sent in X-Request-Id, if it is 1 to 128 visible ASCII characters, else a new one."""
    given = headers.get("X-Request-Id")
    return given if given and _GIVEN_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """16 random hexadecimal digits."""
    return f"{random.getrandbits(64):016x}"
