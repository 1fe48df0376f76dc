"""`python -m load`: the load generator's command, on the main thread."""

import sys

from load.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
