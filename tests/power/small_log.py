"""Runs the server with a log that moves into the database every 1,000 pages, so that seconds see it begin anew.

`python small_log.py python server.py FLAGS`, as what goes before a server's command line.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    import models.sqlite.opening
    from server import main

    models.sqlite.opening.WAL_PAGES = 1_000
    sys.exit(main(sys.argv[3:], os.environ))
