"""Orders and their storage. The only package with SQL or Peewee.

If psycopg is installed, Peewee imports it, and psycopg takes 10 MiB of memory. A server on a SQLite file does not need
it. So this module imports Peewee without psycopg, before other modules import Peewee.
"""

import sys
from typing import Any, cast

if "peewee" not in sys.modules and "psycopg" not in sys.modules:
    # An import fails if the entry is None: https://docs.python.org/3/reference/import.html#the-module-cache
    cast(dict[str, Any], sys.modules)["psycopg"] = None
    try:
        import peewee  # noqa: F401
    finally:
        del sys.modules["psycopg"]
