"""Starts chaos from the command line, on the main thread."""

import sys

from load.chaos.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
