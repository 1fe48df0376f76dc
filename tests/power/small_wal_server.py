"""Runs the server with checkpoints of the write-ahead log every 1,000 pages, so that the log restarts within seconds.

This program is a prefix for the command of a server: `python small_wal_server.py python server.py FLAGS`.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    import models.sqlite.files.opening
    from server import main

    # The server has no flag for this constant.
    models.sqlite.files.opening.WAL_PAGES = 1_000
    sys.exit(main(sys.argv[3:], os.environ))
