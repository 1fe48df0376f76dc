"""Runs code without the privileges of root, who can write everywhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NOBODY = 65_534


@contextmanager
def without_privileges() -> Iterator[None]:
    """If the tests run as root, runs the block as the user `nobody`."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
