"""Request ids, for the X-Request-Id header of responses and for the logs."""

import random

from models.trace_headers import is_request_id


def request_id_for(given: str | None) -> str:
    """The client's X-Request-Id (`given`) if it has 1 to 128 visible ASCII characters, else a new id."""
    return given if given and is_request_id(given) else new_request_id()


def new_request_id() -> str:
    """16 random hexadecimal digits."""
    return random.getrandbits(64).to_bytes(8).hex()
