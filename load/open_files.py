"""Owns the process's limit on open files, of which every connection takes one."""

import resource

# Standard streams, the event loop's own descriptors, the result file.
OTHER_FILES = 20


class TooFewFiles(Exception):
    """The hard limit on open files does not allow so many connections."""


def allow_connections(count: int) -> None:
    """Raise the soft limit to the hard one; TooFewFiles when that is not enough for `count` connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            # macOS calls its hard limit infinite and takes less.
            hard = soft
    if hard != resource.RLIM_INFINITY and count + OTHER_FILES > hard:
        raise TooFewFiles(f"{count} connections need more open files than the limit of {hard} allows (ulimit -n)")
