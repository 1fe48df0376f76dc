"""Makes a big database file from the command line, on the main thread."""

import sys

from load.fill.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
