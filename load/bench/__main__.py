"""Starts the benchmark from the command line, on the main thread."""

import sys

from load.bench.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
