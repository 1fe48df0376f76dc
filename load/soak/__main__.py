"""Starts the soak from the command line, on the main thread."""

import sys

from load.soak.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
